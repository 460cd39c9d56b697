"""The application: Celery app (celery), tasks, answers, API and health checks, one module each."""
