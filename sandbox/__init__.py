"""A local AWS: moto's API with real Redis, real tasks, real load balancers and real auto scaling behind it."""
