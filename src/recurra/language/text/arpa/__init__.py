r"""ARPA files: how n-gram models travel between tools.

    \data\
    ngram 1=3
    ngram 2=1

    \1-grams:
    -99	<s>	-0.3010299956639812
    -0.3010299956639812	</s>
    -0.3010299956639812	<unk>

    \2-grams:
    -0.1	<s> </s>

    \end\

A line is a logarithm to base 10, the n-gram, and the back-off weight of what it begins, 0 where
left out. What gzip, bzip2 or xz packed is unpacked in reading, UTF-16 with a byte-order mark read
as UTF-8; a file that is written is packed if its name ends in `.gz`.

* `<eos>` is `</s>` where it is predicted and `<s>` where it opens a sentence, two words of a file
  that share one id. `<s>` itself is never predicted, and its probability is not read; what follows
  `</s>` is a new sentence, so no weight of an n-gram that ends in `</s>` is read either.
* `<unk>` is an ordinary word. Where a file has none, `<unk>` gets 10^-99.
* N-grams with `<s>` after their first word, or `</s>` before their last, can never be met, and
  are left out in reading.
* An n-gram whose beginning is no n-gram of the file, as pruning leaves it, counts: the beginning
  gets what backing off gives. This and a head that says other numbers than there are is noted.
* The words of a file stand between ASCII white space, in UTF-8. A token that could not be told
  there (one with white space in it, or named as the three above) is refused in writing, so models
  of characters cannot be written.
"""

from recurra.language.text.arpa.reading import read_arpa
from recurra.language.text.arpa.tools import is_ngrams
from recurra.language.text.arpa.writing import write_arpa

__all__ = ["is_ngrams", "read_arpa", "write_arpa"]
