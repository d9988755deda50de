"""Words: what people call the columns of a label table, the findings, their absence, and a patient who is unknown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

#: The 14 findings of ChestX-ray14 in the alphabetical order of its files (Wang et al., CVPR 2017, arXiv:1705.02315).
NIH_PATHOLOGIES = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)

#: The observations of CheXpert but for "No Finding" (Irvin et al., AAAI 2019, arXiv:1901.07031).
CHEXPERT_PATHOLOGIES = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)

#: The findings of VinDr-CXR (Nguyen et al. 2022, Scientific Data 9: 429), local and global, but for "No finding".
VINDR_PATHOLOGIES = (
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Clavicle fracture",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Enlarged PA",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Lung cavity",
    "Lung cyst",
    "Mediastinal shift",
    "Nodule/Mass",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
    "Rib fracture",
    "Other lesion",
    "COPD",
    "Lung tumor",
    "Pneumonia",
    "Tuberculosis",
    "Other disease",
    "Other diseases",
)

#: Further names under which findings stand in public chest X-ray tables.
MORE_PATHOLOGIES = (
    "Airspace opacity",
    "Asthma",
    "Bacterial pneumonia",
    "Bronchiectasis",
    "Bronchitis",
    "COVID",
    "COVID-19",
    "Covid19",
    "Cavity",
    "Diffuse Nodule",
    "Granuloma",
    "Lung cancer",
    "MERS",
    "Miliary",
    "Nodule or mass",
    "Opacity",
    "Pneumomediastinum",
    "Pneumoperitoneum",
    "SARS",
    "Scoliosis",
    "Subcutaneous Emphysema",
    "TB",
    "Tortuous Aorta",
    "Calcification of the Aorta",
    "Viral pneumonia",
)

#: What the data sets call an image without any finding. It is not a pathology.
NO_FINDING = "No Finding"
_NO_FINDING = (
    *("nofinding", "nofindings", "normal", "healthy", "negative", "nothing", "nodisease", "noabnormality"),
    *("noabnormalities", "nopathology", "noacutefinding", "noacutefindings", "unremarkable", "noneofthese"),
)


def fold(name: str) -> str:
    """Return a name without case, accents of form, blanks, underscores, hyphens and other marks.

    Examples
    --------
    >>> fold("Pleural_Effusion") == fold("pleural effusion") == fold(" Pleural-Effusion")
    True
    """
    if name.isascii() and name.isalnum():
        return name.lower()
    return "".join(sign for sign in unicodedata.normalize("NFKC", name).casefold() if sign.isalnum())


#: Findings that the vocabularies above know, folded, and the name that the first of them gives.
KNOWN_PATHOLOGIES = {
    fold(name): name
    for name in reversed((*NIH_PATHOLOGIES, *CHEXPERT_PATHOLOGIES, *VINDR_PATHOLOGIES, *MORE_PATHOLOGIES))
}


def is_no_finding(name: str) -> bool:
    """Whether a column or class is what data sets call an image without any finding.

    Examples
    --------
    >>> is_no_finding("No_Finding"), is_no_finding("NORMAL"), is_no_finding("Nodule")
    (True, True, False)
    """
    return fold(name) in _NO_FINDING


#: Roles that a column can have, and the names (folded) by which it is recognised; earlier names are preferred.
ROLES: dict[str, tuple[str, ...]] = {
    "image": (
        *("image", "imageindex", "imagename", "imagefile", "imagefilename", "imagepath", "imageid", "img", "imgname"),
        *("imgpath", "imgid", "imgfile", "filename", "file", "filepath", "path", "pathtoimage", "pngpath", "jpgpath"),
        *("relativepath", "imagerelativepath", "fullpath", "picture", "pngname", "xrayimagename", "images", "imageids"),
        *("dicomid", "dicompath", "dicomfile", "dcmpath", "sopinstanceuid", "imagefilepath", "filenames", "fname"),
    ),
    "patient": (
        *("patientid", "patient", "subjectid", "subject", "pid", "patientno", "patientnumber", "patientnum", "ptid"),
        *("personid", "mrn", "patientidentifier", "patientcode", "deidpatientid", "patients", "subjectno", "patid"),
        *("subjects", "casepatientid", "anonpatientid", "patientkey"),
    ),
    "age": ("age", "patientage", "ageyears", "ageinyears", "ageatstudy", "agey", "ageyear", "patientsage"),
    "sex": ("sex", "gender", "patientsex", "patientgender", "patientssex"),
    "view": (
        *("view", "viewposition", "projection", "viewpos", "appa", "position", "viewname", "projectiontype"),
        *("viewpositiondicom", "orientation"),
    ),
    "lateral": ("frontallateral", "frontalorlateral"),
    "split": (
        *("split", "set", "setid", "fold", "subset", "partition", "datasplit", "datasettype", "phase", "istest"),
        *("istrain", "isvalid", "isvalidation", "isval", "istraining", "trainvaltest", "trainortest", "usage", "folds"),
        *("splits", "cvfold", "foldid", "whichset", "traintest", "splitname", "setname", "datasetsplit"),
    ),
    "follow_up": ("followup", "followupnumber", "followupno", "visit", "visitnumber"),
    "reader": (
        *("radid", "reader", "readerid", "radiologist", "radiologistid", "annotator", "annotatorid", "rater"),
        *("raterid", "labeler", "labelerid", "labeller"),
    ),
    "findings": (
        *("findinglabels", "findinglabel", "findings", "finding", "labels", "label", "classname", "classnames"),
        *("class", "classes", "diagnosis", "diagnoses", "category", "categories", "pathology", "pathologies"),
        *("disease", "diseases", "target", "condition", "conditions", "abnormality", "type", "categoryname"),
        *("labelname", "imagelabel", "groundtruth", "tags"),
    ),
    "index": ("index", "idx", "unnamed0", "unnamed01", "rowid", "rownumber", "no", "nr", "sno", "serial", "level0"),
}
#: Columns whose names make a row a box on an image: all of one of these sets.
BOXES = (
    ("x", "y", "width", "height"),
    ("x", "y", "w", "h"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("bboxx", "y", "w", "h"),
    ("left", "top", "right", "bottom"),
    ("bbox",),
)
#: Columns that tables of images often have and that are not labels; folded.
NOT_LABELS = frozenset(
    """
    accession accessionnumber acquisitiondate address bits bitsallocated bitsstored birth birthdate birthyear bmi
    bodypart bodypartexamined caption center centre city clinicalnotes columns comment comments comparison count
    country data dataset datasetname date datetime day department device dicom dob doi encounter ethnicity examdate
    examid exposure filesize folder fps hash height hospital hospitalid icd icd10 id impression indication insitution
    institution instance instancenumber kvp laterality license location machine manufacturer md5 mimetype modality
    model month name naturaldate note notes offset originalheight originalwidth othernotes photometricinterpretation
    pixelspacing quality race radiologistname remark remarks report reportid reports resolution rows scanner series
    seriesid seriesinstanceuid seriesnumber sha256 site siteid size smoker smoking source spacing station status study
    studydate studyid studyinstanceuid studytime survival targetsize technique text time timestamp url vendor version
    weight width ward year yearofbirth portable male female pregnant inpatient icu rotated inverted augmented
    augmentation synthetic include exclude included excluded valid checked reviewed train test validation
    """.split()
)
#: Texts that stand for 1 and 0 in a column of labels; folded where letters.
LABEL_WORDS = {
    **dict.fromkeys(("yes", "y", "true", "t", "positive", "pos", "present", "abnormal", "+"), 1.0),
    **dict.fromkeys(("no", "n", "false", "f", "negative", "neg", "absent", "normal", "-"), 0.0),
}
#: Texts in the place of a patient id that mean "unknown"; folded, or the text itself where nothing is left of it.
PLACEHOLDERS = frozenset(
    """
    unknown unk unkn none null nan na notavailable notknown missing anonymous anonymized anonymised undefined
    unspecified unidentified nopatient noid notapplicable notgiven nil tbd xxx ref value name div0
    """.split()
)
_PLACEHOLDER_SIGNS = re.compile(r"[-–—?_.*#/\\ ]+")


def is_placeholder(patient_id: str) -> bool:
    """Whether a patient id stands for a patient who is unknown.

    Examples
    --------
    >>> [is_placeholder(text) for text in ("unknown", "?", "-1", "N/A", "13", "p-1")]
    [True, True, True, True, False, False]
    """
    if patient_id in ("-1", "-1.0", "-9", "-99", "-999", "-9999") or _PLACEHOLDER_SIGNS.fullmatch(patient_id):
        return True
    return not patient_id.isdigit() and fold(patient_id) in PLACEHOLDERS


#: Findings of two data sets that are one, and where that is said: (name, name, source).
SAME = (
    (
        "Effusion",
        "Pleural Effusion",
        "Cohen et al. 2022, TorchXRayVision (arXiv:2111.00595): NIH's Effusion is pleural effusion",
    ),
    ("Pleural Effusion", "Pleural effusion", "the same words (VinDr-CXR, PadChest)"),
    ("Pleural_Thickening", "Pleural thickening", "the same words (VinDr-CXR, PadChest)"),
    ("Fibrosis", "Pulmonary fibrosis", "Cohen et al. 2022, TorchXRayVision: lung fibrosis in both"),
    ("Hernia", "hiatal hernia", "Wang et al. 2017: NIH's Hernia is mostly hiatal; PadChest names it so"),
    ("Infiltration", "Infiltrate", "one word of NIH's labels and of NIH's boxes"),
    ("Lung Opacity", "Airspace opacity", "Majkowska et al. 2020, Radiology 294: 421-431"),
)
#: Findings with similar names that are not one, and why.
NOT_THE_SAME = (
    (
        "Pleural_Thickening",
        "Pleural Other",
        "CheXpert's Pleural Other holds every pleural abnormality but effusion (Irvin et al. 2019)",
    ),
    ("Mass", "Lung Lesion", "CheXpert's Lung Lesion is nodules and masses together (Irvin et al. 2019)"),
    ("Nodule", "Lung Lesion", "CheXpert's Lung Lesion is nodules and masses together (Irvin et al. 2019)"),
    ("Cardiomegaly", "Enlarged Cardiomediastinum", "the mediastinum may be wide and the heart of normal size"),
    ("Infiltration", "Lung Opacity", "Lung Opacity is the wider term (Irvin et al. 2019)"),
)


def same_pathology(name: str, among: Iterable[str]) -> str | None:
    """Return another data set's name for a pathology, if it is among those given and `SAME` lists the pair.

    Examples
    --------
    >>> same_pathology("Effusion", ["Edema", "Pleural Effusion"]), same_pathology("Mass", ["Lung Lesion"])
    ('Pleural Effusion', None)
    """
    known = {fold(other): other for other in among}
    for one, other, _ in SAME:
        for here, there in ((one, other), (other, one)):
            if fold(here) == fold(name) != fold(there) and fold(there) in known:
                return known[fold(there)]
    return None
