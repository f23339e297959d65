"""The page as a whole: self-contained, escaped, complete, and honest about what failed."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import warnings
from html.parser import HTMLParser
from io import BytesIO
from types import SimpleNamespace

import pytest
from PIL import Image

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import StoreError
from packerlabimaging.report import ReportSection, ReportTable, SectionContent, register_section, report
from packerlabimaging.report.contract import sections

VOID = {"meta", "img", "br", "link", "input", "hr"}
TITLES = [
    "Overview", "Inputs and metadata", "Synchronisation", "Field of view", "Registration", "Traces", "Targets",
    "Responses to photostimulation", "Provenance",
]  # fmt: skip


class Page(HTMLParser):
    """Reads the page: headings, links, attributes, and whether tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings, self.attributes, self.ids, self.open, self.faults = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += data


@pytest.fixture
def registered():
    """Sections registered by a test are forgotten after it."""
    before = dict(sections._registered)
    yield register_section
    sections._registered.clear()
    sections._registered.update(before)


def read(path):
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(recording, pretend_trial, tmp_path_factory):
    """The text of the report of one trial that has everything, made once and without a warning."""
    experiment = type("Experiment", (list,), {"id": "RL109", "output": tmp_path_factory.mktemp("whole"), "comment": ""})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return read(report(experiment([pretend_trial("t-001", recording)])))


def test_every_section_is_there_in_order(whole):
    page = Page(whole)
    assert page.open == [] and page.faults == []
    assert len(page.ids) == len(set(page.ids))
    assert [heading.split("  ")[0].strip() for heading in page.headings][0] == "RL109"
    assert [
        next(t for t in TITLES if heading.startswith(t)) for heading in page.headings if heading.startswith(tuple(TITLES))
    ] == TITLES
    links = [value for tag, name, value in page.attributes if tag == "a" and name == "href"]
    assert links and all(link.startswith("#") and link[1:] in page.ids for link in links)


def test_the_page_needs_nothing_from_outside(whole):
    page, text = Page(whole), whole
    sources = [value for _, name, value in page.attributes if name in ("src", "srcset", "data", "action")]
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?://|<script|<link|@import|url\(", text)
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert "default-src 'none'" in text


def test_pictures_are_whole_and_have_captions(whole):
    page = Page(whole)
    pictures = [value for tag, name, value in page.attributes if tag == "img" and name == "src"]
    captions = [value for tag, name, value in page.attributes if tag == "img" and name == "alt"]
    assert len(pictures) == len(captions) >= 12
    assert all(len(caption) > 30 for caption in captions)
    for picture in pictures:
        image = Image.open(BytesIO(base64.b64decode(picture.split(",", 1)[1])))
        image.load()
        assert image.width > 300 and len(image.convert("L").getcolors(256)) > 4


def test_text_from_files_is_escaped(make_experiment):
    evil = "<script>alert(1)</script>"
    trial = make_experiment.trial(evil, results=("sync",), comment='"><img src=x onerror=alert(2)>')
    trial.inputs = {"movie": f"/data/{evil}"}
    trial.findings = (Finding(evil, evil, "warning", where=evil, advice=evil, evidence={evil: evil}),)
    experiment = make_experiment(trial)
    experiment.id, experiment.comment = evil, evil
    text = read(report(experiment))
    assert "<script" not in text and "<img src=x" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 8
    assert Page(text).faults == []


def test_a_trial_with_little_has_only_its_sections(make_experiment):
    page = Page(read(report(make_experiment(results=("sync",)))))
    titles = [heading.strip() for heading in page.headings]
    assert "Provenance" in titles and not {"Field of view", "Traces", "Targets", "Registration"} & set(titles)


def test_an_experiment_without_results_is_told_so(make_experiment):
    trial = make_experiment.trial("t-001", results=())
    trial.inputs, trial._recording = {}, SimpleNamespace(metadata=None)
    text = read(report(make_experiment(trial)))
    assert "There are no results of this trial yet" in text


def test_numbers_of_the_page_are_those_of_the_tables(whole, recording):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", whole))
    assert f"measured rate (Hz) {recording.clock.rate_hz:.4g}" in text
    assert "12 of 14 ROIs" in text and "3 matched, 1 unmatched" in text and "4 of 14" in text
    assert "called excited 4" in text and "called suppressed 1" in text
    assert "With 5 stims a single responding ROI" in text  # the finding that the table carries
    assert "20 of 20 experiments" in text  # the caveat about false calls
    assert f"{int(recording.cells.var['artefact'].sum())} (" in text


def test_a_section_that_fails_is_shown_and_warned_about(make_experiment, registered):
    @registered
    class Broken(ReportSection):
        name, title, order = "broken", "Broken thing", 45

        def applies(self, trial):
            return True

        def render(self, trial):
            raise ValueError("no <b>luck</b>")

    with pytest.warns(UserWarning, match=r"'Broken thing' of 't-001': ValueError: no <b>luck</b>"):
        path = report(make_experiment(results=("sync", "images")))
    text = read(path)
    assert "This section could not be made." in text and "ValueError: no &lt;b&gt;luck&lt;/b&gt;" in text
    titles = [heading.strip() for heading in Page(text).headings]
    assert titles.index("Field of view") < titles.index("Broken thing") < titles.index("Provenance")


def test_a_section_whose_applies_fails_or_whose_figure_is_none_is_shown_as_failed(make_experiment, registered):
    from packerlabimaging.report import ReportFigure

    @registered
    class Unsure(ReportSection):
        name, title = "unsure", "Unsure"

        def applies(self, trial):
            raise KeyError("what")

        def render(self, trial):
            return SectionContent()

    @registered
    class NoFigure(ReportSection):
        name, title = "no-figure", "No figure"

        def applies(self, trial):
            return True

        def render(self, trial):
            return SectionContent(figures=[ReportFigure(42, "nothing")])

    with pytest.warns(UserWarning, match="holds a int"), pytest.warns(UserWarning, match="'Unsure'"):
        text = read(report(make_experiment(results=("sync",))))
    assert text.count("This section could not be made.") == 2


def test_a_broken_plugin_is_named(make_experiment, monkeypatch):
    sections.all()
    monkeypatch.setattr(sections, "broken", {"pupil": "ImportError: no module named pupils"})
    with pytest.warns(UserWarning, match="'pupil' can't be loaded"):
        text = read(report(make_experiment(results=("sync",))))
    assert "no module named pupils" in text


def test_somebody_elses_section_is_shown(make_experiment, registered):
    @registered
    class Pupil(ReportSection):
        name, title, order = "pupil", "Pupil", 65

        def applies(self, trial):
            return trial.id == "t-002"

        def render(self, trial):
            table = ReportTable(("eye", "area (mm²)"), [["left", 1.23456789], ["right", None]], "Both eyes", folded=True)
            return SectionContent(verdict="fine", text=["Pupil was tracked."], facts={"frames": 12345}, tables=[table])

    @registered
    class Summary(ReportSection):
        name, title, scope = "summary", "All trials", "experiment"

        def applies(self, experiment):
            return True

        def render(self, experiment):
            return SectionContent(text=[f"There are {len(experiment)} trials."])

    trials = [make_experiment.trial(id, results=("sync",)) for id in ("t-001", "t-002")]
    text = read(report(make_experiment(*trials)))
    assert text.count("Pupil was tracked.") == 1 and "There are 2 trials." in text
    assert "1.235" in text and "12,345" in text and "Both eyes (2 rows)" in text


def test_an_earlier_report_is_replaced_and_nothing_else_is_left(make_experiment):
    experiment = make_experiment(results=("sync",))
    assert report(experiment) == report(experiment) == experiment.output / "report.html"
    assert [path.name for path in experiment.output.iterdir()] == ["report.html"]


def test_another_path_is_made_with_its_folder(make_experiment, tmp_path):
    assert report(make_experiment(results=("sync",)), path=tmp_path / "new" / "page.html").exists()


def test_a_place_that_can_not_be_written_is_named(make_experiment, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/page.html' can't be written"):
        report(make_experiment(results=("sync",)), path=tmp_path / "file" / "page.html")


def test_progress_reaches_the_end(make_experiment):
    seen = []
    report(make_experiment(results=("sync",)), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (1, 1)


def test_a_report_does_not_load_pyplot(make_experiment, tmp_path):
    code = "import sys, packerlabimaging.report as r; assert 'matplotlib' not in sys.modules and 'jinja2' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("first", ["packerlabimaging.report.contract", "packerlabimaging.report", "packerlabimaging.plotting"])
def test_the_function_and_the_package_of_one_name_are_never_confused(first):
    code = (
        f"import {first}, packerlabimaging as pli\nassert callable(pli.report)\nfrom packerlabimaging.report import ReportSection"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_table_with_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a row of a report table has 1 items"):
        ReportTable(("a", "b"), [[1]])
