"""Reporting checklists: which item the results answer, and which the authors must write.

Numbers and topics are those of the sources; the wording is our own and shorter. Each item names the sections of the
report that answer it.

References
----------
CLAIM 2024: A. S. Tejani, M. E. Klontzas, A. A. Gatti, J. T. Mongan, L. Moy, S. H. Park, C. E. Kahn: Checklist for
Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update. Radiology: Artificial Intelligence 6 (2024) e240300,
doi:10.1148/ryai.240300.
TRIPOD+AI: G. S. Collins et al.: TRIPOD+AI statement: updated guidance for reporting clinical prediction models that
use regression or machine learning methods. BMJ 385 (2024) e078378, doi:10.1136/bmj-2023-078378.
Datasheets: T. Gebru et al.: Datasheets for Datasets. Communications of the ACM 64 (2021) 86-92, doi:10.1145/3458723.
Model Cards: M. Mitchell et al.: Model Cards for Model Reporting. FAT* 2019, doi:10.1145/3287560.3287596.
"""

from __future__ import annotations

from dataclasses import dataclass

from cxr_cli.choices import Checklist

#: Commands whose results fill a section of the report.
FILLED_BY = {
    "data": "explore",
    "leakage": "check-leakage",
    "splits": "split",
    "preprocessing": "preprocess",
    "weights": "weights",
    "model": "build-model",
    "training": "train",
    "predictions": "predict",
    "evaluation": "evaluate",
    "explanation": "explain",
}


@dataclass(frozen=True)
class Item:
    """One item of a checklist.

    Attributes
    ----------
    number
        As in the source.
    section
        The part of the checklist.
    topic
        What is to be reported, in our words.
    answered_by
        Sections of the report, one of which answers it; none if only the authors can.
    also_write
        What the authors must add all the same; "" for nothing.
    """

    number: str
    section: str
    topic: str
    answered_by: tuple[str, ...] = ()
    also_write: str = ""


@dataclass(frozen=True)
class Source:
    """A checklist with where it comes from.

    Attributes
    ----------
    name, title
        Short and full name.
    doi
        Of the source.
    items
        In order.
    """

    name: Checklist
    title: str
    doi: str
    items: tuple[Item, ...]


def _items(section: str, *rows: tuple[str, ...]) -> tuple[Item, ...]:
    """Build items from (number, topic, sections separated by blanks, what else to write)."""
    return tuple(
        Item(number, section, topic, tuple(rest[0].split()) if rest else (), rest[1] if len(rest) > 1 else "")
        for number, topic, *rest in rows
    )


CLAIM = Source(
    "claim",
    "CLAIM 2024",
    "10.1148/ryai.240300",
    _items(
        "Title and abstract",
        ("1", "Title or abstract names the kind of AI"),
        ("2", "Structured abstract: design, methods, results, conclusions"),
    )
    + _items(
        "Introduction",
        ("3", "Background, intended use and clinical role"),
        ("4", "Aims and hypotheses"),
    )
    + _items(
        "Methods: study design",
        ("5", "Prospective or retrospective"),
        ("6", "Goal of the study"),
    )
    + _items(
        "Methods: data",
        ("7", "Sources of the data", "data", "who collected them, where and when"),
        ("8", "Inclusion and exclusion criteria", "data", "how patients were selected"),
        ("9", "Preprocessing of the data", "preprocessing"),
        ("10", "Selection of parts of the data", "preprocessing splits"),
        ("11", "De-identification"),
        ("12", "Handling of missing data", "data", "why data are missing"),
        ("13", "Image acquisition", "", ""),
    )
    + _items(
        "Methods: reference standard",
        ("14", "How the reference standard was obtained"),
        ("15", "Why this reference standard"),
        ("16", "Who annotated, with which qualification"),
        ("17", "Annotation of the test set"),
        ("18", "Agreement between and within annotators"),
    )
    + _items(
        "Methods: partitions and testing data",
        ("19", "How data were assigned to partitions", "splits"),
        ("20", "Level at which partitions are disjoint", "leakage splits"),
        ("21", "Intended sample size", "splits", "how it was chosen"),
    )
    + _items(
        "Methods: model and training",
        ("22", "The model in detail", "model"),
        ("23", "Software, frameworks and versions", "model training"),
        ("24", "Initial parameters", "model training"),
        ("25", "Training: augmentation, hyperparameters, stopping", "training"),
        ("26", "How the final model was selected", "training"),
        ("27", "Ensembles", "", ""),
    )
    + _items(
        "Methods: evaluation",
        ("28", "Metrics of performance", "evaluation"),
        ("29", "Statistical uncertainty and significance", "evaluation"),
        ("30", "Robustness or sensitivity analysis", "evaluation"),
        ("31", "Explainability and its validation", "explanation"),
        ("32", "Evaluation on internal data", "evaluation", "that these data are internal"),
        ("33", "Testing on external data", "", ""),
        ("34", "Registration of the trial"),
    )
    + _items(
        "Results",
        ("35", "Patients and images included and excluded", "data preprocessing"),
        ("36", "Characteristics of the cases in each partition", "data splits"),
        ("37", "Performance with uncertainty", "evaluation"),
        ("38", "Diagnostic performance and its precision", "evaluation"),
        ("39", "Analysis of failures", "explanation", "a look at wrongly classified cases"),
    )
    + _items("Discussion", ("40", "Limitations"), ("41", "Implications for practice"))
    + _items(
        "Other information",
        ("42", "Where protocol and technical details are"),
        ("43", "Availability of software, model and data", "", ""),
        ("44", "Funding and the role of funders"),
    ),
)

TRIPOD_AI = Source(
    "tripod-ai",
    "TRIPOD+AI",
    "10.1136/bmj-2023-078378",
    _items("Title and abstract", ("1", "Title names model, population and outcome"), ("2", "Abstract for TRIPOD+AI"))
    + _items(
        "Introduction",
        ("3a", "Health care context and existing models"),
        ("3b", "Target population and intended users"),
        ("3c", "Known health inequalities"),
        ("4", "Objectives: development, evaluation or both"),
    )
    + _items(
        "Methods",
        (
            "5a",
            "Sources of the data for development and evaluation",
            "data",
            "why they represent the target population",
        ),
        ("5b", "Dates of the data"),
        ("6a", "Setting: number and place of centres"),
        ("6b", "Eligibility of participants"),
        ("6c", "Treatments received"),
        ("7", "Preparation and quality of the data", "preprocessing data"),
        ("8a", "Outcome and how it was assessed", "data", "how labels were obtained"),
        ("8b", "Assessors of the outcome"),
        ("8c", "Blinding of the assessment"),
        ("9a", "Choice of predictors", "preprocessing", "why images alone"),
        ("9b", "Predictors and how they were measured", "preprocessing"),
        ("9c", "Assessors of subjective predictors"),
        ("10", "Sample size for development and evaluation", "splits data", "how it was chosen"),
        ("11", "Missing data", "data", "why data are missing"),
        ("12a", "Use of the data: partitions", "splits leakage"),
        ("12b", "Handling of predictors", "preprocessing"),
        ("12c", "Type of model, building, internal validation", "model training"),
        ("12d", "Heterogeneity between clusters", "evaluation"),
        ("12e", "Measures of performance", "evaluation"),
        ("12f", "Updating of the model", "", ""),
        ("12g", "How predictions were computed for evaluation", "predictions"),
        ("13", "Class imbalance: methods and recalibration", "weights evaluation"),
        ("14", "Fairness", "evaluation", "the rationale of the approach"),
        ("15", "Output of the model and thresholds", "evaluation predictions"),
        ("16", "Differences between training and evaluation data", "splits data"),
        ("17", "Ethical approval"),
    )
    + _items(
        "Open science and involvement",
        ("18a", "Funding"),
        ("18b", "Conflicts of interest"),
        ("18c", "Protocol"),
        ("18d", "Registration"),
        ("18e", "Availability of the data", "data", "who can get them"),
        ("18f", "Availability of the code", "model", "where the code is"),
        ("19", "Involvement of patients and the public"),
    )
    + _items(
        "Results",
        ("20a", "Flow of participants, with and without the outcome", "data splits"),
        ("20b", "Characteristics of participants, missing values", "data"),
        ("20c", "Comparison of development and evaluation data", "splits"),
        ("21", "Participants and events in each analysis", "splits evaluation"),
        ("22", "The full model, so that others can use it", "model training"),
        ("23a", "Performance with intervals, also of subgroups", "evaluation"),
        ("23b", "Heterogeneity of performance", "evaluation"),
        ("24", "Results of updating", "", ""),
    )
    + _items(
        "Discussion",
        ("25", "Interpretation, fairness included"),
        ("26", "Limitations"),
        ("27a", "Poor or unavailable input data at use"),
        ("27b", "Interaction with users and their expertise"),
        ("27c", "Next steps"),
    ),
)

DATASHEET = Source(
    "datasheet",
    "Datasheets for Datasets",
    "10.1145/3458723",
    _items("Motivation", ("M", "Purpose, creators and funding of the data set"))
    + _items(
        "Composition",
        ("C1", "What an instance is, and how many there are", "data"),
        ("C2", "Whether it is a sample of a larger set", "data", "how it was drawn"),
        ("C3", "Data and labels of each instance", "data"),
        ("C4", "Missing information", "data"),
        ("C5", "Relations between instances: patients", "data leakage"),
        ("C6", "Recommended splits", "splits"),
        ("C7", "Errors, noise and redundancies", "data leakage"),
        ("C8", "Subpopulations and their distribution", "data"),
        ("C9", "Confidential or identifying content", "", ""),
    )
    + _items("Collection process", ("L", "How, by whom, when and with what consent data were collected"))
    + _items(
        "Preprocessing, cleaning, labelling",
        ("P", "What was done to the data, and whether raw data are kept", "preprocessing"),
    )
    + _items("Uses", ("U", "Uses so far, and uses that should be avoided"))
    + _items("Distribution", ("D", "Licence, terms and fees"))
    + _items("Maintenance", ("N", "Who maintains it, errata and versions")),
)

MODEL_CARD = Source(
    "model-card",
    "Model Cards",
    "10.1145/3287560.3287596",
    _items(
        "Model details",
        ("1", "Developer, date, version, licence", "model training", "developer, licence"),
    )
    + _items("Intended use", ("2", "Uses, users, uses out of scope"))
    + _items("Factors", ("3", "Groups, instruments and environments that matter", "evaluation data"))
    + _items("Metrics", ("4", "Measures, thresholds, uncertainty", "evaluation"))
    + _items("Evaluation data", ("5", "Data, motivation, preprocessing", "evaluation splits"))
    + _items("Training data", ("6", "The same for training", "training splits"))
    + _items("Quantitative analyses", ("7", "Results by factor and by combinations of factors", "evaluation"))
    + _items("Ethical considerations", ("8", "Sensitive data, risks, mitigation"))
    + _items("Caveats and recommendations", ("9", "What else users must know")),
)

#: All checklists by name.
CHECKLISTS: dict[str, Source] = {source.name: source for source in (CLAIM, TRIPOD_AI, DATASHEET, MODEL_CARD)}


@dataclass(frozen=True)
class Answer:
    """Where an item is answered.

    Attributes
    ----------
    item
        The item.
    status
        "answered": in the sections named; "missing": `commands` would answer it; "write": only the authors can.
    sections
        Sections of the report that answer it.
    commands
        Commands that would fill a section that answers it.
    """

    item: Item
    status: str
    sections: tuple[str, ...]
    commands: tuple[str, ...]


def answers(source: Source, sections: frozenset[str]) -> tuple[Answer, ...]:
    """Say item by item where a report with some sections answers a checklist."""
    found = []
    for item in source.items:
        present = tuple(name for name in item.answered_by if name in sections)
        missing = tuple(FILLED_BY[name] for name in item.answered_by if name not in sections)
        status = "answered" if present else "missing" if missing else "write"
        found.append(Answer(item, status, present, () if present else missing))
    return tuple(found)
