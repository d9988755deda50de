#!/usr/bin/env bash
# The whole pipeline, from images to a table of what was learnt, on images that are drawn for it.
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
cxr explore drawn/labels.csv
cxr split drawn/labels.csv --fractions 0.55,0.15,0.3 --output splits
cxr check-leakage splits/train splits/valid splits/test --images drawn/images
cxr preprocess splits/train.csv --images drawn/images --image-size 64 --dtype uint8 --output stores/train
cxr preprocess splits/valid.csv --images drawn/images --image-size 64 --dtype uint8 --output stores/valid
cxr preprocess splits/test.csv --images drawn/images --image-size 64 --dtype uint8 --output stores/test
cxr weights splits/train.csv --save weights.json
cxr build-model --store stores/train --class-weights weights.json --save model.keras
cxr train model.keras --train stores/train --valid stores/valid --learning-rate 0.3 --monitor loss --patience 10
cxr predict cxr-output/train/model.keras stores/test --output test-predictions.csv
cxr evaluate test-predictions.csv --labels splits/test.csv --train-labels splits/train.csv
