"""ARPA as six tools write it, small files in their manner, each scored by hand; and other forms."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import lzma
import math
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recurra.errors import DataError
from recurra.language.models.base import LanguageModel
from recurra.language.text.arpa import is_ngrams, read_arpa
from recurra.language.text.arpa.tools import FORMS

HERE = Path(__file__).parent
CAMPAIGN = Path(__file__).parents[3] / "campaigns" / "arpa.py"

TWO = """\\data\\
ngram 1=4
ngram 2=3
ngram 3=1

\\1-grams:
-99\t<s>\t-0.3
-0.9\t</s>
-0.5\toak\t-0.2
-1.5\t<unk>

\\2-grams:
-0.4\t<s> </s>\t-0.7
-0.2\t<s> oak\t-0.15
-0.3\toak </s>

\\3-grams:
-0.1\t<s> oak oak

\\end\\
"""
PRUNED = """\\data\\
ngram 1=5
ngram 2=1
ngram 3=2

\\1-grams:
-99\t<s>\t-0.3
-0.9\t</s>
-0.5\toak\t-0.2
-0.6\telm\t-0.1
-1.5\t<unk>

\\2-grams:
-0.2\t<s> oak\t-0.15

\\3-grams:
-0.1\t<s> oak elm
-0.05\toak elm </s>

\\end\\
"""
BOM = TWO.replace("\t", "\t\t").replace("\n", "\r\n").rstrip()

# SRILM: begins with a blank line, no weight where nothing follows, -99 for what cannot be.
SRILM = """
\\data\\
ngram 1=5
ngram 2=4

\\1-grams:
-0.60206\t</s>
-99\t<s>\t-0.1760913
-0.7781513\toak\t-0.30103
-0.7781513\telm
-99\tash\t-99

\\2-grams:
-0.30103\t<s> oak
-0.60206\t<s> elm
-0.1760913\toak elm
-0.4771213\toak </s>

\\end\\
"""
# KenLM's lmplz: <unk> first, <s> with probability one, weights of zero written out.
KENLM = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-1.2041199\t<unk>\t0
0\t<s>\t-0.25
-0.7\t</s>\t0
-0.5\toak\t-0.125
-0.9\telm\t-0.0625

\\2-grams:
-0.2\t<s> oak
-0.3\toak elm
-0.1\telm </s>

\\end\\
"""
# MITLM: six decimals, -99 for a weight of nothing, </s> before all else.
MITLM = """
\\data\\
ngram 1=4
ngram 2=3

\\1-grams:
-0.602060\t</s>
-99\t<s>\t-0.301030
-0.477121\toak\t-99
-0.397940\telm\t-0.176091

\\2-grams:
-0.221849\t<s> oak
-0.096910\toak elm
-0.397940\telm </s>

\\end\\
"""
# The CMU-Cambridge toolkit: a page about the format, then the data; fixed decimals, <UNK>.
CMU = """#############################
## A trigram model of 3 words, an OPEN vocabulary (type 1)
## The data begin with the mark \\data\\
ngram 1=nr            # how many there are
\\1-grams:
p_1     wd_1 bo_wt_1

\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-0.7782 <UNK>\t0.0000
-98.9622 <s>\t-0.2041
-0.6021 </s>\t-0.3010
-0.4771 oak\t-0.1761
-0.9031 elm\t0.0000

\\2-grams:
-0.1761 <s> oak -0.0969
-0.3010 oak elm 0.0000
-0.2218 </s> <s> 0.1139

\\3-grams:
-0.1249 <s> oak elm\x20

\\end\\
"""
# HTK: !!UNK for what is unknown; its bigrams of labels name the ends !ENTER and !EXIT.
HTK = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-99.999\t!!UNK\t-0.5
-1.2\t!ENTER\t-0.4
-0.8\t!EXIT
-0.5\toak\t-0.1
-0.6\telm\t-0.2

\\2-grams:
-0.3\t!ENTER oak
-0.25\toak elm
-0.35\telm !EXIT

\\end\\
"""
SCORED: dict[str, tuple[str, dict[str, list[float]]]] = {
    "srilm": (
        SRILM,
        {
            "oak elm": [-0.30103, -0.1760913, -0.60206],
            "elm oak": [-0.60206, -0.7781513, -0.4771213],
            "ash": [-0.1760913 - 99, -99 - 0.60206],
            "": [-0.1760913 - 0.60206],
        },
    ),
    "kenlm": (
        KENLM,
        {
            "oak elm": [-0.2, -0.3, -0.1],
            "elm ash": [-0.25 - 0.9, -0.0625 - 1.2041199, -0.7],
            "": [-0.25 - 0.7],
        },
    ),
    "mitlm": (
        MITLM,
        {
            "oak elm": [-0.221849, -0.09691, -0.39794],
            "oak oak": [-0.221849, -99 - 0.477121, -99 - 0.60206],
            "elm": [-0.30103 - 0.39794, -0.39794],
        },
    ),
    "cmu": (
        CMU,
        {
            "oak elm": [-0.1761, -0.1249, -0.6021],
            "oak oak": [-0.1761, -0.0969 - 0.1761 - 0.4771, -0.1761 - 0.6021],
            "ash": [-0.2041 - 0.7782, -0.6021],
        },
    ),
    "htk": (
        HTK,
        {
            "oak elm": [-0.3, -0.25, -0.35],
            "elm": [-0.4 - 0.6, -0.35],
            "ash oak": [-0.4 - 99.999, -0.5 - 0.5, -0.1 - 0.8],
        },
    ),
    "two.arpa": (TWO, {"oak": [-0.2, -0.45], "": [-0.4], "oak oak": [-0.2, -0.1, -0.3]}),
    "bom.arpa": (BOM, {"oak": [-0.2, -0.45], "": [-0.4], "oak oak": [-0.2, -0.1, -0.3]}),
    "capital ends": (
        TWO.replace("<s>", "<S>").replace("</s>", "</S>"),
        {"oak": [-0.2, -0.45], "": [-0.4]},
    ),
}


def log10(model: LanguageModel, lines: list[str]) -> list[list[float]]:
    return [[t.log_prob / math.log(10) for t in found.tokens] for found in model.score(lines)]


def put(folder: Path, data: str | bytes, name: str = "model.arpa") -> Path:
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder / name


@pytest.mark.parametrize("dialect", SCORED)
def test_each_dialect_is_read_with_its_scores(tmp_path: Path, dialect: str) -> None:
    text, expected = SCORED[dialect]
    model = LanguageModel.from_pretrained(put(tmp_path, text))
    for context in ("independent", "document"):
        found = model.score(expected, context=context)  # type: ignore[arg-type]
        for each, numbers in zip(found, expected.values(), strict=True):
            ours = [token.log_prob / math.log(10) for token in each.tokens]
            np.testing.assert_allclose(ours, numbers, atol=1e-9)


def test_irstlm_is_read_as_irstlm_scores_it() -> None:
    # What `irstlm compile-lm irstlm.arpa --eval=FILE --debug=2` printed, to two decimals.
    expected = {
        "the cat sat": [-0.57, -0.21, -0.60, -0.18],
        "": [-0.90],
        "a dog": [-0.76, -0.41, -1.39],
    }
    found = log10(LanguageModel.from_pretrained(HERE / "irstlm.arpa"), list(expected))
    for ours, theirs in zip(found, expected.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.00501)


def test_irstlm_itself_writes_the_file_that_is_read(tmp_path: Path) -> None:
    if shutil.which("irstlm") is None:
        pytest.skip("irstlm is not installed; the file that it wrote is read above")
    command = ["irstlm", "compile-lm", str(HERE / "irstlm.ilm"), "--text=yes", "now.arpa"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    lines = ["the cat sat", "", "a dog ran on", "zebra"]
    now, then = (
        log10(LanguageModel.from_pretrained(path), lines)
        for path in (tmp_path / "now.arpa", HERE / "irstlm.arpa")
    )
    for ours, theirs in zip(now, then, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_counts_arpa_is_read_with_a_note(tmp_path: Path) -> None:
    path = put(tmp_path, TWO.replace("ngram 1=4", "ngram 1=9").replace("ngram 2=3", "ngram 2=2"))
    said = r"of length 1 \(4 are there\), 2 of length 2 \(3 are there\)"
    with pytest.warns(UserWarning, match=said):
        model = LanguageModel.from_pretrained(path)
    np.testing.assert_allclose(log10(model, ["oak oak"])[0], [-0.2, -0.1, -0.3], atol=1e-9)


def test_a_length_that_the_head_leaves_out_is_read_with_a_note(tmp_path: Path) -> None:
    for gone in ("ngram 1=4\n", "ngram 3=1\n"):
        with pytest.warns(UserWarning, match=r"0 of length \d \(\d are there\)"):
            model = LanguageModel.from_pretrained(put(tmp_path, TWO.replace(gone, "")))
        np.testing.assert_allclose(log10(model, ["oak oak"])[0], [-0.2, -0.1, -0.3], atol=1e-9)
    with pytest.warns(UserWarning, match=r"7 of length 4 \(0 are there\)"):
        read_arpa(put(tmp_path, TWO.replace("ngram 3=1\n", "ngram 3=1\nngram 4=7\n")))


@pytest.mark.filterwarnings("ignore:.*sum to")
def test_pruned_arpa_is_read_with_a_note(tmp_path: Path) -> None:
    said = "n-grams of length 3 begin with what is no n-gram of the file, 1 of them, .* in line 18"
    with pytest.warns(UserWarning, match=said):
        model = LanguageModel.from_pretrained(put(tmp_path, PRUNED))
    found = log10(model, ["oak elm", "elm oak elm", "elm"])
    np.testing.assert_allclose(found[0], [-0.2, -0.1, -0.05], atol=1e-9)
    np.testing.assert_allclose(found[1], [-0.9, -0.6, -0.8, -0.05], atol=1e-9)
    np.testing.assert_allclose(found[2], [-0.9, -1.0], atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*sum to")
def test_a_length_between_may_be_missing(tmp_path: Path) -> None:
    text = TWO.replace("-0.1\t<s> oak oak", "-0.1\tash oak oak oak").replace("3-grams", "4-grams")
    text = text.replace("ngram 3", "ngram 4").replace("-1.5\t<unk>", "-1.5\tash")
    with pytest.warns(UserWarning, match="n-grams of length 4 begin with what is no n-gram"):
        model = LanguageModel.from_pretrained(put(tmp_path, text))
    assert model.ngrams.sizes == (4, 4, 1, 1)  # type: ignore[attr-defined]
    np.testing.assert_allclose(
        log10(model, ["ash oak oak oak"])[0], [-1.8, -0.5, -0.7, -0.1, -0.3], atol=1e-9
    )


@pytest.mark.parametrize("weight", ["-99", "0", "-inf", "-1.25", "nan", "0.5"])
def test_what_a_file_says_of_the_opening_s_is_never_predicted(tmp_path: Path, weight: str) -> None:
    plain, _ = read_arpa(put(tmp_path, TWO))
    other, _ = read_arpa(put(tmp_path, TWO.replace("-99\t<s>", f"{weight}\t<s>")))
    np.testing.assert_array_equal(
        plain.log_probs_of([1, 0, 0, 1]), other.log_probs_of([1, 0, 0, 1])
    )


def test_a_file_without_the_opening_s_opens_without_weight(tmp_path: Path) -> None:
    text = "\\data\\\nngram 1=2\n\n\\1-grams:\n-0.5 </s> -0.9\n-0.4 oak -0.2\n\n\\end\\\n"
    found = log10(LanguageModel.from_pretrained(put(tmp_path, text)), ["oak", ""])
    np.testing.assert_allclose(found[0] + found[1], [-0.4, -0.5, -0.5], atol=1e-9)


@pytest.mark.parametrize("name", ["model.lm", "model.lm.gz", "model", "model.arpa.gz", "lm.txt"])
def test_n_grams_are_found_by_content_and_not_by_name(tmp_path: Path, name: str) -> None:
    forms = [
        *(pack(TWO.encode()) for pack in (gzip.compress, bz2.compress, lzma.compress)),
        *(TWO.encode(code) for code in ("utf-8", "utf-8-sig", "utf-16", "utf-32")),
        gzip.compress(TWO.encode("utf-16")),
        b"\xff\xfe" + TWO.encode("utf-16-le"),
        b"\xfe\xff" + TWO.encode("utf-16-be"),
    ]
    for data in forms:
        found = log10(LanguageModel.from_pretrained(put(tmp_path, data, name)), ["oak oak"])
        np.testing.assert_allclose(found[0], [-0.2, -0.1, -0.3], atol=1e-9)


def test_utf_16_without_a_mark_is_named(tmp_path: Path) -> None:
    for code in ("UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE"):
        with pytest.raises(DataError, match=f"is {code} without a byte-order mark; .* -f {code}"):
            read_arpa(put(tmp_path, TWO.encode(code)))


@pytest.mark.parametrize(
    "mark", [*FORMS, b"\x11\0\0\0Darpa Trigram LM\0"], ids=range(len(FORMS) + 1)
)
def test_other_forms_are_named_for_what_they_are(tmp_path: Path, mark: bytes) -> None:
    path = put(tmp_path, mark + b" version 5\n\0\x01\x02 of something", "model.binary")
    assert is_ngrams(path)
    with pytest.raises(
        DataError, match=r"model.binary is (an?|IRSTLM's) .*(convert|give)"
    ) as caught:
        LanguageModel.from_pretrained(path)
    assert "FILE" not in str(caught.value)


def test_irstlm_s_intermediate_form_is_named(tmp_path: Path) -> None:
    said = r"IRSTLM's intermediate form \(iARPA\).*irstlm compile-lm --text=yes .*irstlm.ilm NEW"
    with pytest.raises(DataError, match=said):
        LanguageModel.from_pretrained(HERE / "irstlm.ilm")


def test_a_text_is_no_model(tmp_path: Path) -> None:
    for data in (b"oak elm\n", b"", gzip.compress(b"oak"), b"\x1f\x8bdamaged", b"PK\x03\x04\0"):
        assert not is_ngrams(put(tmp_path, data, "model.txt"))


@pytest.fixture(scope="module")
def campaign() -> Any:
    spec = importlib.util.spec_from_file_location("arpa_campaign", CAMPAIGN)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["arpa_campaign"] = module  # where its dataclass looks its types up
    spec.loader.exec_module(module)
    return module


def test_random_models_say_what_their_dictionaries_say(campaign: Any, tmp_path: Path) -> None:
    kinds = set[str]()
    for number in range(30):
        model = campaign.drawn(np.random.default_rng([5, number]))
        assert campaign.fault(tmp_path, model) is None
        kinds |= model.kinds
    assert kinds == {"gaps", "pruned", "wrong head", "packed", "UTF-16"}


def test_the_oracle_would_see_a_line_that_depends_on_another(
    campaign: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = campaign.Model(order=3, file=TWO.encode(), lines=[["oak"], [], ["oak", "oak"]])
    for line in TWO.splitlines():
        if line[:1] == "-":
            number, gram, *weight = line.split("\t")
            model.log_probs[tuple(gram.split())] = float(number)
            model.weights |= {tuple(gram.split()): float(w) for w in weight}
    model.unknown = "<unk>"
    assert campaign.fault(tmp_path, model) is None
    monkeypatch.setitem(model.log_probs, ("<s>", "</s>"), -1.1)
    assert "lines of []" in campaign.fault(tmp_path, model)


def test_nothing_is_warned_of_without_need(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_arpa(put(tmp_path, TWO))
