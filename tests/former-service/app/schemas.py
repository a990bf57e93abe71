"""The bodies of requests and responses."""

from pydantic import BaseModel, ConfigDict


class PatientCreate(BaseModel):
    name: str
    email: str
    phone: str
    document_url: str


class PatientRead(PatientCreate):
    model_config = ConfigDict(from_attributes=True)

    id: int


class PatientListed(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    email: str
