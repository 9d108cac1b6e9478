"""N-grams: counted by Kneser-Ney, asked as back-off tables, pruned."""

from recurra.language.ngram.backoff import BackoffLevel, BackoffNgrams
from recurra.language.ngram.kneser_ney import KneserNey, Level
from recurra.language.ngram.pruning import pruned

__all__ = ["BackoffLevel", "BackoffNgrams", "KneserNey", "Level", "pruned"]
