"""Graph's error bodies as data: every row that a publisher meets, with the shape and the vagaries of Meta's.

User texts come in the account's language, as Meta's do, so that nobody can match them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response


@dataclass(frozen=True, slots=True)
class GraphError:
    """One row of Meta's error table.

    Attributes:
        code, subcode: Meta's numbers; most errors have both, some only a code.
        message: the English words for developers.
        user_title, user_msg: the words for a person, in the account's language; often missing.
        is_transient: what Meta claims.
        status: HTTP status; 400 for nearly all.
        type: Meta's exception class.
    """

    code: int
    subcode: int | None
    message: str
    user_title: str = ""
    user_msg: str = ""
    is_transient: bool = False
    status: int = 400
    type: str = "OAuthException"

    def body(self, message: str | None = None) -> dict[str, Any]:
        """The JSON of an answer; `fbtrace_id` is new each time."""
        error: dict[str, Any] = {
            "message": message or self.message,
            "type": self.type,
            "code": self.code,
            "is_transient": self.is_transient,
            "fbtrace_id": "A" + secrets.token_urlsafe(16),
        }
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.user_title:
            error |= {"error_user_title": self.user_title, "error_user_msg": self.user_msg}
        return {"error": error}


class Refused(Exception):
    """A call that the stand-in refuses with one of the table's errors."""

    def __init__(self, error: GraphError, message: str | None = None) -> None:
        super().__init__(message or error.message)
        self.error = error
        self.words = message

    def response(self) -> Response:
        """The answer."""
        return JSONResponse(self.error.body(self.words), status_code=self.error.status)


_LIMIT = "Application request limit reached"

ERRORS: tuple[GraphError, ...] = (
    GraphError(
        -2, 2207003, "Timeout downloading the media", "Tiempo agotado", "La descarga tardó demasiado."
    ),
    GraphError(
        -2, 2207020, "The media has expired", "El contenido caducó", "El contenido ya no está disponible."
    ),
    GraphError(-1, 2207001, "Instagram server error, try again later", is_transient=True),
    GraphError(-1, 2207032, "Create media fail, please try to re-create media", "Error", "No se pudo crear."),
    GraphError(-1, 2207053, "Unknown upload error", "Error de subida", "Se produjo un error desconocido."),
    GraphError(1, None, "An unknown error occurred", is_transient=True, status=500),
    GraphError(2, None, "Service temporarily unavailable", is_transient=True, status=500),
    GraphError(3, None, "(#3) Application does not have the capability to make this API call."),
    GraphError(4, None, f"(#4) {_LIMIT}", is_transient=True, status=403),
    GraphError(
        4, 2207051, f"(#4) {_LIMIT}", "กิจกรรมถูกจำกัด", "เราจำกัดกิจกรรมบางอย่างเพื่อปกป้องชุมชนของเรา", status=403
    ),
    GraphError(
        9, 2207042, "(#9) Limit reached", "Límite alcanzado", "Alcanzaste el máximo de publicaciones."
    ),
    GraphError(10, None, "(#10) Application does not have permission for this action", status=403),
    GraphError(17, None, "(#17) User request limit reached", is_transient=True),
    GraphError(20, 1772107, "Response format not supported"),
    GraphError(
        24, 2207006, "The requested resource does not exist", "No se encontró", "No existe el contenido."
    ),
    GraphError(24, 2207008, "The requested resource does not exist", "Caducado", "El contenedor no existe."),
    GraphError(25, 2207050, "The user is restricted", "Cuenta restringida", "Abre Instagram y confirma."),
    GraphError(32, None, "(#32) Page request limit reached", is_transient=True),
    GraphError(100, None, "(#100) Invalid parameter"),
    GraphError(
        100,
        33,
        "Unsupported request. Object does not exist, cannot be loaded due to missing permissions, or does "
        "not support this operation",
        type="GraphMethodException",
    ),
    GraphError(
        100, 2207023, "(#100) Unknown media type", "Tipo desconocido", "Tipo de contenido desconocido."
    ),
    GraphError(
        100, 2207028, "(#100) Invalid carousel", "Secuencia no válida", "Se necesitan de 2 a 10 fotos."
    ),
    GraphError(100, 2207040, "(#100) Too many user tags", "Demasiadas menciones", "El máximo es 20."),
    GraphError(102, None, "Session key invalid or no longer valid"),
    GraphError(190, None, "Invalid OAuth access token - Cannot parse access token"),
    GraphError(190, 458, "Error validating access token: the user has not authorized application"),
    GraphError(190, 459, "Error validating access token: the user is enrolled in a checkpoint"),
    GraphError(190, 460, "Error validating access token: the session has been invalidated"),
    GraphError(190, 463, "Error validating access token: Session has expired"),
    GraphError(190, 464, "Error validating access token: Sessions for the user are not allowed"),
    GraphError(190, 467, "Error validating access token: the session is invalid"),
    GraphError(190, 492, "Error validating access token: the user must be an administrator"),
    GraphError(200, None, "(#200) Permissions error", status=403),
    GraphError(341, None, "(#341) Feed action request limit reached", is_transient=True),
    GraphError(352, 2207026, "Unsupported video format", "Formato no admitido", "El vídeo no es MP4 ni MOV."),
    GraphError(368, None, "The action attempted has been deemed abusive or is otherwise disallowed"),
    GraphError(506, None, "Duplicate status message"),
    GraphError(613, None, "(#613) Calls to this api have exceeded the rate limit", is_transient=True),
    GraphError(
        9004,
        2207052,
        "Only photo or video can be accepted as media type.",
        "No se pudo descargar el contenido",
        "No se pudo obtener el contenido de esta URI.",
    ),
    GraphError(9007, 2207027, "Media ID is not available", "No está listo", "Espera un momento."),
    GraphError(36000, 2207004, "The image is too large to download", "Imagen grande", "El máximo es 8 MiB."),
    GraphError(36001, 2207005, "The image format is not supported", "Formato no admitido", "Usa JPEG."),
    GraphError(
        36003,
        2207009,
        "The aspect ratio is not supported",
        "Proporción no válida",
        "Debe ser de 4:5 a 1.91:1.",
    ),
    GraphError(36004, 2207010, "The caption was too long", "Texto largo", "El máximo es 2200 caracteres."),
    GraphError(80001, None, "There have been too many calls to this Page account", is_transient=True),
    GraphError(80002, None, "There have been too many calls to this Instagram account", is_transient=True),
)

_BY_NUMBERS = {(error.code, error.subcode): error for error in ERRORS}


def graph_error(code: int, subcode: int | None = None) -> GraphError:
    """The row of these numbers."""
    return _BY_NUMBERS[code, subcode]


def refused(code: int, subcode: int | None = None, message: str | None = None) -> Refused:
    """The exception that answers with the row of these numbers."""
    return Refused(graph_error(code, subcode), message)
