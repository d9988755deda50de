#!/usr/bin/env bash
# The whole pipeline, from images to a report of what was learnt, on images that are drawn for it.
#
#   examples/pipeline.sh [FOLDER]
#
# N_IMAGES=900 images are drawn (fewer for a quick look), 64 pixels wide, with each finding on a quarter of them.
# PERMUTE=1 gives each patient the labels of another one: then nothing can be learnt, and cxr train says so (exit 1).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "${1:-cxr-pipeline}" && cd "${1:-cxr-pipeline}"
"${PYTHON:-python3}" "$here/sample_data/make_sample_data.py" drawn \
    --n-images "${N_IMAGES:-900}" --prevalence 0.25 --size 64 ${PERMUTE:+--permute-labels}

# pipeline
cxr explore drawn/labels.csv --output study/explore
cxr split drawn/labels.csv --fractions 0.55,0.15,0.3 --output study/splits
cxr check-leakage study/splits/train study/splits/valid study/splits/test --images drawn/images --output study/leakage
cxr preprocess study/splits/train.csv --images drawn/images --image-size 64 --dtype uint8 --output study/stores/train
cxr preprocess study/splits/valid.csv --images drawn/images --image-size 64 --dtype uint8 --output study/stores/valid
cxr preprocess study/splits/test.csv --images drawn/images --image-size 64 --dtype uint8 --output study/stores/test
cxr weights study/splits/train.csv --save study/weights/weights.json --output study/weights
cxr build-model --store study/stores/train --class-weights study/weights/weights.json --save study/model/model.keras \
    --output study/model
cxr train study/model/model.keras --train study/stores/train --valid study/stores/valid --learning-rate 0.05 \
    --monitor loss --patience 10 --epochs 300 --output study/training
cxr predict study/training/model.keras study/stores/test --output study/predictions/test.csv
# Of a network that learnt on images of 64 pixels, maps of 2 x 2 cells show little, and the exit code says so.
cxr explain study/training/model.keras study/stores/test --boxes drawn/boxes.csv --train-labels study/splits/train.csv \
    --output study/explanation || test $? -eq 1
cxr evaluate study/predictions/test.csv --labels study/splits/test.csv --train-labels study/splits/train.csv \
    --output study/evaluation
cxr report study --output study/report.html
