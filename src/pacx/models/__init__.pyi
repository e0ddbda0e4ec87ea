from .encoders.by_name import open_encoders as open_encoders
from .encoders.film_encoder import FilmEncoder as FilmEncoder
