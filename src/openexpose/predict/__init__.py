"""Photo to people.

predictor = Predictor.load()
people = predictor("photo.jpg")            # list[Prediction]
"""

from openexpose.predict.predictor import Predictor as Predictor
from openexpose.predict.shot import Shot as Shot
from openexpose.predict.shot import read_shot as read_shot
from openexpose.prediction import Prediction as Prediction
