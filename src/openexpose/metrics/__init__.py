"""How far a prediction is from the truth: plain functions, and the same as torchmetrics classes.

mpjpe_mm(pred_m, true_m, align="procrustes")            # one number per person
metric = MPJPE(unit="mm", align="root", root=0)          # batch by batch, on several ranks
"""

from openexpose.metrics.align import Align as Align
from openexpose.metrics.align import Similarity as Similarity
from openexpose.metrics.align import aligned as aligned
from openexpose.metrics.align import fit_similarity as fit_similarity
from openexpose.metrics.points import OUTER_EYES_68 as OUTER_EYES_68
from openexpose.metrics.points import auc3d_01 as auc3d_01
from openexpose.metrics.points import f_score_01 as f_score_01
from openexpose.metrics.points import mpjpe_mm as mpjpe_mm
from openexpose.metrics.points import nme_01 as nme_01
from openexpose.metrics.points import pck3d_01 as pck3d_01
from openexpose.metrics.points import pck_01 as pck_01
from openexpose.metrics.points import point_errors_mm as point_errors_mm
from openexpose.metrics.points import pve_mm as pve_mm
from openexpose.metrics.points import segment_px as segment_px
from openexpose.metrics.points import tr_v2v_mm as tr_v2v_mm
from openexpose.metrics.scan import FaceMask as FaceMask
from openexpose.metrics.scan import p2s_mm as p2s_mm
from openexpose.metrics.scan import rmse3d as rmse3d
from openexpose.metrics.scan import scan_distances as scan_distances
from openexpose.metrics.surface import Surface as Surface
