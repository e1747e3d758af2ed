# Quantised Hugging Face checkpoints, written as each method's definition has them.
# SPDX-License-Identifier: Apache-2.0
"""METHODS: name -> (quantization_config, encode). encode(stem, shape, rng) gives the tensors of one
random matrix and, in float32, the weights that they stand for. Nothing here is shared with Retort: bits
are packed by numpy, one code at a time in the order that the method's own packer has.
"""
import json

import numpy as np
import torch

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
E2M1[8] = -0.0
# The quantiles of a normal distribution that arXiv:2305.14314 lists in its appendix E.
NF4 = np.array(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
     -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
     0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
     0.7229568362236023, 1.0], np.float32)  # fmt: skip
FP4 = np.array([0, 0.0052083333, 0.6666667, 1, 0.3333333, 0.5, 0.1666667, 0.25,
                0, -0.0052083333, -0.6666667, -1, -0.3333333, -0.5, -0.1666667, -0.25], np.float32)  # fmt: skip
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def words(codes, bits, axis, order=None):
    """int32 words of the codes along `axis`, the first in the lowest bits, or in `order`."""
    codes = np.moveaxis(codes.astype(np.uint32), axis, -1)
    count = 32 // bits
    pad = -codes.shape[-1] % count
    codes = np.pad(codes, [(0, 0), (0, pad)]).reshape(codes.shape[0], -1, count)
    packed = np.zeros(codes.shape[:2], np.uint32)
    for place in range(count):
        packed |= codes[:, :, order[place] if order else place] << np.uint32(place * bits)
    return torch.from_numpy(np.moveaxis(packed, -1, axis).copy().view(np.int32))


def stream(codes, bits, axis):
    """int32 words of the codes along `axis` on end, bit after bit from the lowest of the first word."""
    codes = np.moveaxis(codes.astype(np.uint32), axis, -1)
    each_bit = codes[..., None] >> np.arange(bits, dtype=np.uint32) & 1
    each_bit = each_bit.reshape(codes.shape[0], -1, 32)
    packed = (each_bit << np.arange(32, dtype=np.uint32)).sum(-1, dtype=np.uint32)
    return torch.from_numpy(np.moveaxis(packed, -1, axis).copy().view(np.int32))


def scales_of(rng, shape, dtype, spread=0.02):
    numbers = np.asarray(rng.random(shape) * spread + spread / 2, np.float32)
    numbers = torch.from_numpy(numbers).to(dtype)
    return numbers, numbers.float().numpy()


def each(values, size, columns):
    """A number of each column from those of its group."""
    return np.repeat(values, size, axis=-1)[..., :columns]


def gptq(bits=4, group=32, version=1, act_order=False, biased=False):
    def encode(stem, shape, rng):
        rows, columns = shape
        groups = columns // (columns if group == -1 else group)
        codes = rng.integers(0, 1 << bits, shape)
        # Among the zero points are those that the first format stores as less than nothing.
        zeros = rng.integers(0, 1 << bits, (groups, rows))
        scales, numbers = scales_of(rng, (groups, rows), torch.float16)
        order = np.arange(columns) // (columns // groups)
        if act_order:
            order = rng.permutation(order)
        pack = stream if bits == 3 else words
        if bits == 3 and version == 1:
            stored = stream((zeros - 1) % 8, 3, 1).numpy().view(np.uint32)
        else:
            stored = pack(zeros, bits, 1).numpy().view(np.uint32)
        if version == 1 and bits != 3:
            ones = np.uint32(sum(1 << at for at in range(0, 32, bits)))
            stored = stored - ones
        tensors = {
            f"{stem}.qweight": pack(codes.T, bits, 0),
            f"{stem}.qzeros": torch.from_numpy(stored.view(np.int32)),
            f"{stem}.scales": scales,
            f"{stem}.g_idx": torch.from_numpy(order.astype(np.int32)),
        }
        if biased:
            tensors[f"{stem}.bias"] = torch.zeros(rows, dtype=torch.float16)
        return tensors, (codes - zeros[order].T).astype(np.float32) * numbers[order].T

    config = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": act_order}
    return config | ({"checkpoint_format": "gptq_v2"} if version == 2 else {}), encode


def awq(group=32):
    def encode(stem, shape, rng):
        rows, columns = shape
        codes = rng.integers(0, 16, shape)
        zeros = rng.integers(0, 16, (columns // group, rows))
        scales, numbers = scales_of(rng, zeros.shape, torch.float16)
        weights = (codes - each(zeros.T, group, columns)).astype(np.float32)
        return {
            f"{stem}.qweight": words(codes.T, 4, 1, AWQ_ORDER),
            f"{stem}.qzeros": words(zeros, 4, 1, AWQ_ORDER),
            f"{stem}.scales": scales,
        }, weights * each(numbers.T, group, columns)

    return {"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm",
            "zero_point": True, "modules_to_not_convert": ["lm_head"]}, encode  # fmt: skip


def compressed(format, weights, encode):
    group = {"targets": ["Linear"], "weights": weights, "input_activations": None}
    return {"quant_method": "compressed-tensors", "format": format, "config_groups": {"group_0": group},
            "ignore": ["lm_head"], "quantization_status": "compressed"}, encode  # fmt: skip


def packed(bits=4, group=32, symmetric=True, dtype=torch.bfloat16):
    def encode(stem, shape, rng):
        rows, columns = shape
        size = columns if group is None else group
        codes = rng.integers(0, 1 << bits, shape)
        scales, numbers = scales_of(rng, (rows, columns // size), dtype)
        values = codes - (1 << (bits - 1))
        tensors = {
            f"{stem}.weight_packed": words(codes, bits, 1),
            f"{stem}.weight_scale": scales,
            f"{stem}.weight_shape": torch.tensor(shape),
        }
        if not symmetric:
            zeros = rng.integers(0, 1 << bits, numbers.shape)
            tensors[f"{stem}.weight_zero_point"] = words(zeros, bits, 0)
            values = values - each(zeros - (1 << (bits - 1)), size, columns)
        return tensors, values.astype(np.float32) * each(numbers, size, columns)

    strategy = {"strategy": "channel"} if group is None else {"strategy": "group", "group_size": group}
    return compressed("pack-quantized", {"num_bits": bits, "type": "int", "symmetric": symmetric,
                                         **strategy}, encode)  # fmt: skip


def bytes_with_scales(name, method, scale_shape, block=None, type="float", scale="weight_scale",
                      scale_type=torch.float32, **config):
    """A byte a weight; `scale_shape` of rows and columns gives that of the scales."""

    def encode(stem, shape, rng):
        rows, columns = shape
        at = scale_shape(rows, columns)
        if scale_type == torch.float8_e8m0fnu:
            exponents = torch.from_numpy(rng.integers(118, 124, at).astype(np.uint8))
            scales, numbers = exponents.view(scale_type), np.exp2(exponents.numpy() - 127.0)
            numbers = numbers.astype(np.float32)
        else:
            scales, numbers = scales_of(rng, at, scale_type)
        if type == "float":
            codes = torch.from_numpy(rng.standard_normal(shape).astype(np.float32) * 3)
            codes = codes.to(torch.float8_e4m3fn)
        else:
            codes = torch.from_numpy(rng.integers(-128, 128, shape).astype(np.int8))
        if block:
            numbers = np.repeat(np.repeat(numbers, block[0], 0)[:rows], block[1], 1)[:, :columns]
        elif at == (rows,):
            numbers = numbers[:, None]
        elif len(at) == 2:
            numbers = each(numbers, columns // at[1], columns)
        tensors = {f"{stem}.weight": codes, f"{stem}.{scale}": scales,
                   f"{stem}.input_scale": torch.ones(1)}  # fmt: skip
        return tensors, codes.float().numpy() * numbers

    if method != "compressed-tensors":
        return {"quant_method": method, "weight_block_size": block, **config}, encode
    weights = {"num_bits": 8, "type": type, "symmetric": True, "strategy": name, **config}
    if block:
        weights["block_structure"] = block
    return compressed(f"{type}-quantized", weights, encode)


def fp4(kind):
    size = 16 if kind in ("nvfp4", "modelopt") else 32

    def encode(stem, shape, rng):
        rows, columns = shape
        codes = rng.integers(0, 16, shape).astype(np.uint8)
        nibbles = torch.from_numpy(codes[:, ::2] | codes[:, 1::2] << 4)
        if size == 16:
            scales = torch.from_numpy((rng.random((rows, columns // size)) * 300 + 1).astype(np.float32))
            scales = scales.to(torch.float8_e4m3fn)
            divisor = np.float32(2688 / 0.9)
            numbers = scales.float().numpy() / divisor
            more = {f"{stem}.weight_global_scale": torch.tensor([divisor])}
            if kind == "modelopt":  # has a factor instead
                factor = np.float32(1 / divisor)
                numbers = scales.float().numpy() * factor
                more = {f"{stem}.weight_scale_2": torch.tensor(factor)}
        else:
            scales = torch.from_numpy(rng.integers(117, 124, (rows, columns // size)).astype(np.uint8))
            numbers = np.exp2(scales.numpy() - 127.0).astype(np.float32)
            more = {}
        weights = E2M1[codes] * each(numbers, size, columns)
        if kind == "gpt-oss":
            blocks = nibbles.reshape(rows, columns // 32, 16)
            return {f"{stem}.weight_blocks": blocks, f"{stem}.weight_scales": scales}, weights
        if kind in ("modelopt", "quark"):
            return {f"{stem}.weight": nibbles, f"{stem}.weight_scale": scales, **more}, weights
        return {f"{stem}.weight_packed": nibbles, f"{stem}.weight_scale": scales, **more}, weights

    if kind == "modelopt":
        return {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}, encode
    if kind == "quark":
        return {"quant_method": "quark", "exclude": ["lm_head"]}, encode
    if kind == "gpt-oss":
        return {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}, encode
    return compressed(f"{kind}-pack-quantized", {"num_bits": 4, "type": "float", "symmetric": True,
                                                 "strategy": "tensor_group", "group_size": size},
                      encode)  # fmt: skip


def quark(type, scheme, reorder=True, zeros=True, older=False, group=16, by_layer=False):
    """As Quark lays integers out: by groups, the transposed matrix; 4 bits in words of eight, reordered or not."""
    bits, signed = int(type[-1]), type[0] == "i"

    def packed(numbers):
        """Along the last axis."""
        if bits == 8:
            return torch.from_numpy(numbers.astype(np.int8 if signed else np.uint8))
        if numbers.ndim == 0:
            return torch.tensor(int(numbers), dtype=torch.int32)
        columns = numbers.shape[-1]
        wide = np.zeros((*numbers.shape[:-1], -(-columns // 8) * 8), np.uint32)
        wide[..., :columns] = numbers & 15
        eights = wide.reshape(*wide.shape[:-1], -1, 8)
        words = np.zeros(eights.shape[:-1], np.uint32)
        for place, which in enumerate((0, 2, 4, 6, 1, 3, 5, 7) if reorder else range(8)):
            words |= eights[..., which] << np.uint32(4 * place)
        return torch.from_numpy(words.view(np.int32))

    def encode(stem, shape, rng):
        rows, columns = shape
        least = -(1 << bits - 1) if signed else 0
        codes = rng.integers(least, least + (1 << bits), shape)
        at = {"per_group": (rows, columns // group), "per_channel": (rows, 1), "per_tensor": (1, 1)}[scheme]
        scales = torch.from_numpy(((rng.random(at) * 0.05 + 0.02) / (1 << bits - 4)).astype(np.float32)).bfloat16()
        zero = rng.integers(least, least + (1 << bits), at) if zeros else np.zeros(at, int)
        width = group if scheme == "per_group" else columns
        repeated = [np.broadcast_to(np.repeat(a, width, 1), shape) for a in (scales.float().numpy(), zero.astype(np.float32))]
        weights = (codes.astype(np.float32) - repeated[1]) * repeated[0]
        if scheme == "per_group":
            codes, zero = codes.T, zero.T
            scales = scales if older else scales.T.contiguous()
        else:
            shape = {"per_channel": (rows,), "per_tensor": ()}[scheme]
            scales, zero = scales.reshape(shape), zero.reshape(shape)
        made = {f"{stem}.weight": packed(codes), f"{stem}.weight_scale": scales}
        if zeros:
            made[f"{stem}.weight_zero_point"] = packed(zero)
        return made, weights

    axis = {"per_group": -1, "per_channel": 0, "per_tensor": None}[scheme]
    layer = {"weight": {"dtype": type, "qscheme": scheme, "group_size": group, "ch_axis": axis}, "input_tensors": None}
    every = {"global_quant_config": {"weight": {"dtype": "fp8_e4m3"}}, "layer_quant_config": {"model.layers.?.*_proj": layer}} \
        if by_layer else {"global_quant_config": layer, "layer_quant_config": {}}
    return {"quant_method": "quark", "exclude": ["lm_head"], "layer_type_quant_config": {}, **every,
            "export": {"weight_format": "real_quantized", "pack_method": "reorder" if reorder else "order"}}, encode  # fmt: skip


def bitsandbytes(kind="nf4", nested=False, block=64, storage=torch.uint8):
    numbers = NF4 if kind == "nf4" else FP4

    def encode(stem, shape, rng):
        name, count = f"{stem}.weight", shape[0] * shape[1]
        codes = rng.integers(0, 16, count).astype(np.uint8)
        blocks = -(-count // block)
        state = {"quant_type": kind, "blocksize": block, "dtype": "bfloat16", "shape": list(shape)}
        bytes = torch.from_numpy(codes[::2] << 4 | codes[1::2]).view(storage).reshape(-1, 1)
        tensors = {name: bytes, f"{name}.quant_map": torch.from_numpy(numbers.copy())}
        if nested:
            size, offset = 256, float(np.float32(0.031))
            map = np.sort(rng.random(256).astype(np.float32) * 2 - 1)
            scales = rng.integers(0, 256, blocks).astype(np.uint8)
            outer = (rng.random(-(-blocks // size)) * 0.01).astype(np.float32)
            absmax = map[scales] * np.repeat(outer, size)[:blocks] + np.float32(offset)
            state |= {"nested_blocksize": size, "nested_dtype": "float32", "nested_offset": offset}
            tensors |= {f"{name}.nested_quant_map": torch.from_numpy(map),
                        f"{name}.nested_absmax": torch.from_numpy(outer)}  # fmt: skip
            tensors[f"{name}.absmax"] = torch.from_numpy(scales)
        else:
            absmax = (rng.random(blocks) * 0.1 + 0.05).astype(np.float32)
            tensors[f"{name}.absmax"] = torch.from_numpy(absmax)
        text = np.frombuffer(json.dumps(state).encode(), np.uint8).copy()
        tensors[f"{name}.quant_state.bitsandbytes__{kind}"] = torch.from_numpy(text)
        weights = numbers[codes] * np.repeat(absmax, block)[:count]
        return tensors, weights.reshape(shape)

    return {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind,
            "bnb_4bit_use_double_quant": nested}, encode  # fmt: skip


def int8_rows():
    def encode(stem, shape, rng):
        codes = rng.integers(-127, 128, shape).astype(np.int8)
        largest = (rng.random(shape[0]) * 2 + 1).astype(np.float32)
        tensors = {f"{stem}.weight": torch.from_numpy(codes), f"{stem}.SCB": torch.from_numpy(largest),
                   f"{stem}.weight_format": torch.tensor(0, dtype=torch.uint8)}  # fmt: skip
        return tensors, codes.astype(np.float32) * (largest / np.float32(127))[:, None]

    return {"load_in_8bit": True}, encode


def by_row(rows, columns):
    return rows, 1


def by_block(rows, columns):
    return -(-rows // 48), -(-columns // 40)


METHODS = {
    "gptq": gptq(biased=True),
    "gptq-8bit": gptq(bits=8),
    "gptq-2bit": gptq(bits=2, group=16),
    "gptq-v2": gptq(version=2),
    "gptq-3": gptq(bits=3),
    "gptq-3-v2-act-order": gptq(bits=3, version=2, act_order=True),
    "gptq-one-group": gptq(group=-1),
    "gptq-act-order": gptq(act_order=True),
    "awq": awq(),
    "ct-int4": packed(),
    "ct-int4-asymmetric": packed(symmetric=False),
    "ct-int4-channel": packed(group=None, dtype=torch.float16),
    "ct-int8": packed(bits=8, symmetric=False, dtype=torch.float32),
    "ct-int8-bytes": bytes_with_scales("channel", "compressed-tensors", by_row, type="int"),
    "ct-fp8-channel": bytes_with_scales("channel", "compressed-tensors", by_row,
                                        scale_type=torch.bfloat16),
    "ct-fp8-tensor": bytes_with_scales("tensor", "compressed-tensors", lambda rows, columns: (1,)),
    "ct-fp8-block": bytes_with_scales("block", "compressed-tensors", by_block, [48, 40]),
    "ct-nvfp4": fp4("nvfp4"),
    "ct-mxfp4": fp4("mxfp4"),
    "fp8-block": bytes_with_scales("", "fp8", by_block, [48, 40], scale="weight_scale_inv",
                                   activation_scheme="dynamic"),
    "fp8-block-exponents": bytes_with_scales("", "fp8", by_block, [48, 40], scale="weight_scale_inv",
                                             scale_type=torch.float8_e8m0fnu),
    "fp8-tensor": bytes_with_scales("", "fp8", lambda rows, columns: (), scale="weight_scale_inv"),
    "fbgemm": bytes_with_scales("", "fbgemm_fp8", by_row),
    "mxfp4": fp4("gpt-oss"),
    "bnb-nf4": bitsandbytes(),
    "bnb-nf4-nested": bitsandbytes(nested=True),
    "bnb-fp4-stored-as-bf16": bitsandbytes(kind="fp4", storage=torch.bfloat16, block=128),
    "bnb-int8": int8_rows(),
    "modelopt-fp8": bytes_with_scales("", "modelopt", lambda rows, columns: (), quant_algo="FP8"),
    "modelopt-fp8-rows": bytes_with_scales("", "modelopt", lambda rows, columns: (rows,),
                                           quant_algo="FP8_PER_CHANNEL_PER_TOKEN"),
    "modelopt-nvfp4": fp4("modelopt"),
    "quark-fp8": bytes_with_scales("", "quark", lambda rows, columns: (),
                                   export={"weight_format": "real_quantized"}),
    "quark-int8": bytes_with_scales("", "quark", lambda rows, columns: (rows,), type="int"),
    "quark-mxfp4": fp4("quark"),
    "quark-int4": quark("int4", "per_group"),
    "quark-int4-older": quark("int4", "per_group", older=True, zeros=False),
    "quark-int4-rows": quark("int4", "per_channel"),
    "quark-int4-whole": quark("int4", "per_tensor"),
    "quark-uint4": quark("uint4", "per_group", reorder=False, by_layer=True),
    "quark-uint4-rows": quark("uint4", "per_channel", reorder=False),
    "quark-int8-groups": quark("int8", "per_group"),
    "quark-uint8-rows": quark("uint8", "per_channel"),
}  # fmt: skip
