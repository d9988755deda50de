"""Small good tables of every form, for mutation."""

from __future__ import annotations

import gzip
import io
import zipfile

NIH = (
    b"Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    b"OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
    b"00000001_000.png,Cardiomegaly|Emphysema,0,1,058Y,M,PA,2682,2749,0.143,0.143,\n"
    b"00000013_005.png,No Finding,5,13,060Y,F,AP,2500,2048,0.168,0.168,\n"
    b"00000013_006.png,Mass|Mass,6,13,414,,AP,2500,2048,0.168,0.168,\n"
    b'00000014_000.png,"Hernia",0,14,013M,F,,2500,2048,0.168,0.168,\n'
)
KAGGLE = (
    b"Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    b"OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,OriginalImagePixelSpacing_y\n"
    b"00000013_005.png,Emphysema|Infiltration,5,13,060Y,M,AP,3056,2544,0.139,0.139\n"
    b"00000017_001.png,No Finding,1,17,001D,F,PA,2500,2048,0.168,0.168\n"
)
COURSE = (
    b"Image,Atelectasis,Cardiomegaly,PatientId,Mass,Age,Sex\n"
    b"00008270_015.png,0,1,8270,0,33,F\n"
    b"00029855_001.png,1,0,029855,,1,M\n"
    b"sub/a b.png,,1.0,p07,True,99,\n"
    b'"x,y.png",0,0,,1,,m\n'
)
COURSE_CRLF = b"\xef\xbb\xbfImage , PatientId,Mass,No Finding\r\n a.png , 7 , 1 ,0\r\nb.png,8, 0,1\r\n\r\nc.png,,0,0"
CHEXPERT = (
    b"Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Support Devices\n"
    b"CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,1.0\n"
    b"CheXpert-v1.0-small/train/patient00002/study2/view2_lateral.jpg,Unknown,87,Lateral,,,-1.0,1.0,-1\n"
)
EXCEL = b"sep=;\r\nfilename;Patient ID;Mass;No Finding;Age\r\na.png;7;1;0;40,5\r\nb.png;'8;0;1;50\r\n;;;;\r\n"
CLASSES = b",file,subject,finding,split\n0,a.png,1,COVID-19,train\n1,b.png,unknown,normal,test\n2,c.png,1E+05,,test\n"
WORDS_OF_LABELS = b"img,pid,Mass,Edema,Odd\na.png,1,YES,NO,1\nb.png,2,positive,-1,0\nb.png,2,no,,0\n"
LIST = b"00000013_005.png\n00000013_006.png\nsub/other.png\n"


def zipped(content: bytes, name: str = "table.csv", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return packed.getvalue()


TABLES = [
    NIH,
    KAGGLE,
    COURSE,
    COURSE_CRLF,
    CHEXPERT,
    EXCEL,
    CLASSES,
    WORDS_OF_LABELS,
    COURSE.replace(b"\n", b"\r"),
    NIH.replace(b"\n", b"\r\n"),
]
ARCHIVES = [
    gzip.compress(COURSE, mtime=0),
    zipped(COURSE),
    zipped(COURSE, method=zipfile.ZIP_BZIP2),
    zipped(COURSE, method=zipfile.ZIP_LZMA),
    zipped(COURSE, method=zipfile.ZIP_STORED),
]
