"""Search in English and Chinese: what is written without spaces is found by signs and pairs."""

from __future__ import annotations

import re

from sphinx.search.en import SearchEnglish

__all__ = ["Search"]

SIGNS = "\u3400-\u9fff"
RUN = re.compile(f"[{SIGNS}]+|[^{SIGNS}]+")

SPLITTER = """
function splitQuery(query) {
  const words = query.split(/[^\\p{L}\\p{N}_]+/u);
  const runs = words.flatMap((word) => word.match(/[SIGNS]+|[^SIGNS]+/gu) || []);
  return runs.flatMap((run) => /[SIGNS]/u.test(run) && run.length > 1
    ? Array.from({ length: run.length - 1 }, (_, k) => run.slice(k, k + 2)) : [run]);
}
""".replace("SIGNS", r"\u3400-\u9fff")


class Search(SearchEnglish):
    """The search of English, which finds Chinese too."""

    js_splitter_code = SPLITTER

    def split(self, input: str) -> list[str]:
        """Return the words of a text; of Chinese each sign and each two that stand together.

        Args:
            input: a text.
        """
        runs = [run for word in super().split(input) for run in RUN.findall(word)]
        return [part for run in runs for part in self._parts(run)]

    def _parts(self, run: str) -> list[str]:
        if not RUN.fullmatch(run) or not "\u3400" <= run[0] <= "\u9fff":
            return [run]
        return [*run, *(run[k : k + 2] for k in range(len(run) - 1))]
