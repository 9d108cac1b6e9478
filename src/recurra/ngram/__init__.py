"""N-grams: counted by Kneser-Ney, asked as back-off tables, pruned."""

from recurra.ngram.backoff import BackoffLevel, BackoffNgrams
from recurra.ngram.gaps import filled
from recurra.ngram.kneser_ney import KneserNey, Level
from recurra.ngram.pruning import pruned

__all__ = ["BackoffLevel", "BackoffNgrams", "KneserNey", "Level", "filled", "pruned"]
