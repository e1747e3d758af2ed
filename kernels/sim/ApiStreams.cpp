//===- ApiStreams.cpp - Streams, events, graphs --------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/Driver.h"
#include <algorithm>

using namespace retort::sim;

RETORT_EXPORT CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  Call call;
  if (const CUresult error = usable())
    return error;
  *stream = new CUstream_st{currentDevice(), (flags & CU_STREAM_NON_BLOCKING) == 0, {}};
  currentDevice()->streams.push_back(*stream);
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuStreamDestroy_v2(CUstream stream) {
  Call call;
  if (!stream)
    return CUDA_ERROR_INVALID_HANDLE;
  synchronize(call, stream);
  std::erase(stream->device->streams, stream);
  freeStreamSlot(stream);
  freeClock(stream->clock);
  freeClock(stream->beforeLast);
  delete stream;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuStreamSynchronize(CUstream stream) {
  Call call;
  if (const CUresult error = usable())
    return error;
  return synchronize(call, streamOf(stream));
}
RETORT_EXPORT CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  Call call;
  if (const CUresult error = usable())
    return error;
  if (!event)
    return CUDA_ERROR_INVALID_HANDLE;
  stream = streamOf(stream);
  if (event->capture) {
    if (!stream->capture) // joins the capture; its operations follow in the order of the calls
      stream->capture = event->capture;
    return CUDA_SUCCESS;
  }
  if (event->recorded == 0)
    return CUDA_SUCCESS;
  Operation op{.kind = Operation::Wait};
  op.event = event;
  op.version = event->recorded;
  return enqueue(stream, std::move(op));
}
RETORT_EXPORT CUresult cuEventCreate(CUevent *event, unsigned) {
  Call call;
  if (const CUresult error = usable())
    return error;
  *event = new CUevent_st;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuEventDestroy_v2(CUevent event) {
  Call call;
  if (!event)
    return CUDA_ERROR_INVALID_HANDLE;
  // Unfinished operations may name it.
  runUntil(call, [&] {
    bool used = false;
    forEachStream([&](CUstream stream) {
      for (const Operation &op : stream->operations)
        used |= op.event == event;
    });
    return !used;
  });
  freeClock(event->clock);
  delete event;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuEventRecord(CUevent event, CUstream stream) {
  Call call;
  if (const CUresult error = usable())
    return error;
  if (!event)
    return CUDA_ERROR_INVALID_HANDLE;
  event->capture = streamOf(stream)->capture;
  if (event->capture)
    return CUDA_SUCCESS;
  Operation op{.kind = Operation::Record};
  op.event = event;
  op.version = ++event->recorded;
  return enqueue(stream, std::move(op));
}
RETORT_EXPORT CUresult cuEventQuery(CUevent event) {
  Call call;
  if (const CUresult error = usable())
    return error;
  // A query makes some progress, so that who polls gets there; it never waits.
  runSome([&] { return event->happened >= event->recorded; });
  if (event->happened < event->recorded)
    return CUDA_ERROR_NOT_READY;
  joinInto(hostClock, event->clock);
  return currentDevice()->error;
}
RETORT_EXPORT CUresult cuEventSynchronize(CUevent event) {
  Call call;
  if (const CUresult error = usable())
    return error;
  runUntil(call, [&] { return event->happened >= event->recorded; });
  joinInto(hostClock, event->clock);
  return currentDevice()->error;
}
RETORT_EXPORT CUresult cuEventElapsedTime(float *milliseconds, CUevent begin, CUevent end) {
  Call call;
  if (!begin->happened || !end->happened)
    return CUDA_ERROR_INVALID_HANDLE;
  *milliseconds = float(end->time - begin->time);
  return CUDA_SUCCESS;
}

//===- Graphs -------------------------------------------------------------===//

RETORT_EXPORT CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode) {
  Call call;
  if (const CUresult error = usable())
    return error;
  if (!stream)
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (stream->capture)
    return CUDA_ERROR_NOT_PERMITTED;
  stream->capture = new CUgraph_st;
  stream->captureOrigin = true;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  Call call;
  if (!stream || !stream->capture || !stream->captureOrigin)
    return CUDA_ERROR_NOT_PERMITTED;
  *graph = stream->capture;
  stream->captureOrigin = false;
  forEachStream([&](CUstream other) {
    if (other->capture == *graph)
      other->capture = nullptr;
  });
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph,
                                                   unsigned long long) {
  Call call;
  if (!graph)
    return CUDA_ERROR_INVALID_VALUE;
  *exec = new CUgraphExec_st{graph->nodes};
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  Call call;
  if (const CUresult error = usable())
    return error;
  for (const Operation &node : exec->nodes) {
    Operation op = node;
    if (op.launch) {
      auto *made = new Launch(*op.launch);
      made->device = streamOf(stream)->device;
      op.launch = made;
    }
    if (const CUresult error = enqueue(stream, std::move(op)))
      return error;
  }
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuGraphExecDestroy(CUgraphExec exec) {
  Call call;
  delete exec;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuGraphDestroy(CUgraph graph) {
  Call call;
  delete graph;
  return CUDA_SUCCESS;
}
