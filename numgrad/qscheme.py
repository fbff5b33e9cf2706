"""How values are mapped to whole numbers: with one scale or one a channel, with a zero point or evenly about 0."""


class qscheme:
    """A way to choose scales and zero points, as ``numgrad.per_tensor_affine``; one instance each, compared by identity.

    ``per_channel``: there is a scale for every channel. ``symmetric``: the range lies evenly about 0, so that the zero
    point is the middle. ``float_zero_point``: zero points are not rounded.
    """

    def __init__(self, name: str):
        self.name = name
        self.per_channel = name.startswith("per_channel")
        self.symmetric = name.endswith("symmetric")
        self.float_zero_point = name.endswith("float_qparams")

    def __repr__(self):
        return f"torch.{self.name}"

    def __reduce__(self):
        return self.name


per_tensor_affine, per_tensor_symmetric = qscheme("per_tensor_affine"), qscheme("per_tensor_symmetric")
per_channel_affine, per_channel_symmetric = qscheme("per_channel_affine"), qscheme("per_channel_symmetric")
per_channel_affine_float_qparams = qscheme("per_channel_affine_float_qparams")
