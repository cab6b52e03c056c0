"""The volumes of the tutorials, offered in Slicer's Sample Data module."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

CATEGORY = "MedAI"


@dataclass(frozen=True)
class Sample:
    """One volume to download: its name in the menu, file name, address and SHA-256 in hexadecimal digits."""

    name: str
    file_name: str
    uri: str
    sha256: str
    node_name: str


# Slicer's own release of test data, where each file is named by its SHA-256; the same files as Slicer's own samples.
_RELEASE = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256"
_MR_HEAD = "cc211f0dfd9a05ca3841ce1141b292898b2dd2d3f08286affadf823a7e58df93"
_CT_ABDOMEN = "146af87511520c500a3706b7b2bfb545f40d5d04dd180be3a7a2c6940e447433"
SAMPLES = (
    Sample(
        name="MedAIMRHead",
        file_name="MR-head.nrrd",
        uri=f"{_RELEASE}/{_MR_HEAD}",
        sha256=_MR_HEAD,
        node_name="MRHead",
    ),
    Sample(
        name="MedAICTAbdomen",
        file_name="Panoramix-cropped.nrrd",
        uri=f"{_RELEASE}/{_CT_ABDOMEN}",
        sha256=_CT_ABDOMEN,
        node_name="CTAbdomen",
    ),
)


def register() -> None:
    """Register the samples; registering again replaces nothing and adds nothing."""
    import SampleData

    known = {source.sampleName for source in getattr(slicer.modules, "sampleDataSources", {}).get(CATEGORY, [])}
    for sample in SAMPLES:
        if sample.name in known:
            continue
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=sample.name,
            uris=sample.uri,
            fileNames=sample.file_name,
            checksums=f"SHA256:{sample.sha256}",
            nodeNames=sample.node_name,
        )
