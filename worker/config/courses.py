"""The course material and its index: Markdown files, one per course, cut into passages at their `##` headings."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from config import settings
from config.embeddings import DIMENSIONS, embed


@dataclass(frozen=True)
class Passage:
    """One section of a course."""

    course: str
    section: str
    text: str


def read_course(path: Path) -> list[Passage]:
    """Return the passages of a file: `# course`, then `## section` and its text, as often as there are sections."""
    title, *sections = path.read_text(encoding="utf-8").split("\n## ")
    course = title.strip().removeprefix("# ").splitlines()[0]
    passages = []
    for section in sections:
        heading, _, text = section.partition("\n")
        passages.append(Passage(course, heading.strip(), " ".join(text.split())))
    return passages


@dataclass
class Index:
    """Passages with their vectors, in memory; only files that changed are embedded again."""

    folder: Path
    _files: dict[Path, tuple[tuple[int, int], list[Passage], np.ndarray]] = field(default_factory=dict)
    passages: list[Passage] = field(default_factory=list)
    vectors: np.ndarray = field(default_factory=lambda: np.zeros((0, DIMENSIONS), np.float32))

    def refresh(self) -> dict[str, int]:
        """Bring the index up to date; return the number of courses embedded, removed and unchanged."""
        known, self._files = self._files, {}
        embedded = 0
        for path in sorted(self.folder.glob("*.md")):
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            entry = known.pop(path, None)
            if entry is None or entry[0] != stamp:
                passages = read_course(path)
                entry = (stamp, passages, embed([f"{p.course}. {p.section}. {p.text}" for p in passages]))
                embedded += 1
            self._files[path] = entry
        if embedded or known:
            self.passages = [passage for _, passages, _ in self._files.values() for passage in passages]
            self.vectors = np.concatenate([vectors for _, _, vectors in self._files.values()] or [self.vectors[:0]])
        return {"embedded": embedded, "removed": len(known), "unchanged": len(self._files) - embedded}

    def search(self, question: str, count: int) -> list[tuple[Passage, float]]:
        """Return the `count` passages closest to the question with their similarity (-1 to 1), best first."""
        scores = self.vectors @ embed([question])[0]
        return [(self.passages[i], float(scores[i])) for i in np.argsort(-scores)[:count]]


index = Index(settings.COURSES_DIR)
