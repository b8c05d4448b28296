"""Body models: SMPL, SMPL-X, MANO, FLAME, and the free ones that ship (FreeBody, FreeHand, FreeHead).

model = load_model("free")                       # or a path to a licensed file
posed = model.shape(betas).pose(R, root_m)       # (*B S), (*B J 3 3), (*B 3)
posed.keypoints_m(); posed.skin().vertices_m
"""

from openexpose.body.arrays import Family as Family
from openexpose.body.arrays import ModelArrays as ModelArrays
from openexpose.body.load import load_model as load_model
from openexpose.body.stages import BodyModel as BodyModel
from openexpose.body.stages import Mesh as Mesh
from openexpose.body.stages import Posed as Posed
from openexpose.body.stages import Shaped as Shaped
