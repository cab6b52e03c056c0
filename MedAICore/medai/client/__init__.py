"""Asking a worker to compute, from Slicer or elsewhere, without torch, threads or Qt (standard library and numpy).

    from medai.client import ArrayReader, ArrayWriter, ChildProcessTransport, Client
    from medai.config.requests import SegmentArgs
    from medai.config.segment import SegmentConfig

    client = Client(ChildProcessTransport(python="/path/to/environment/bin/python"))

    # voxels: (k, j, i) or (c, k, j, i)
    writer = ArrayWriter(client.session, voxels, ijk_to_ras, name="T1", modality="MR")
    while not writer.step():  # in Slicer: one step per tick of the timer
        pass

    def on_result(value):  # a medai.config.requests.SegmentValue
        reader = ArrayReader(client.session, value.label_map)
        while not reader.step():  # in Slicer: one step per tick
            pass
        labels = reader.array[0]  # (k, j, i), on the grid of the image; value.labels says what the values mean

    request_id = client.request(
        "segment",
        SegmentArgs("hippocampus-mr", (writer.ref,), SegmentConfig(device="auto")),
        on_progress=lambda progress: show(progress.fraction, progress.stage, progress.eta_s),
        on_result=on_result,
        on_error=lambda error: show_error(error.message, error.remedy),  # a MedAIError; Cancelled after `cancel`
    )
    while client.busy:  # in Slicer: client.poll() from a qt.QTimer of 10 to 15 ms that runs while client.busy
        client.poll()

    client.cancel(request_id)  # on_error(Cancelled) within a second, ready for the next request
    client.drop()  # the scene was closed: cancel all, no more callbacks
    client.close()  # Slicer ends, or the module is reloaded: worker, its children and all files are gone

`request` only queues; everything happens in `poll`. Callbacks may call `request`, `cancel`, `drop` and `close`.
"""

from medai.client.arrays import SLAB_BYTES, ArrayReader, ArrayWriter
from medai.client.child_process import ChildProcessTransport
from medai.client.client import Client
from medai.client.transport import InProcessTransport, Transport, WorkerExit

__all__ = [
    "SLAB_BYTES",
    "ArrayReader",
    "ArrayWriter",
    "ChildProcessTransport",
    "Client",
    "InProcessTransport",
    "Transport",
    "WorkerExit",
]
