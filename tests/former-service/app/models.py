"""The table of the patients."""

from sqlalchemy import Column, Integer, String, Text

from .database import Base


class Patient(Base):
    __tablename__ = "patients"

    id = Column(Integer, primary_key=True, index=True)
    name = Column(String(255))
    email = Column(String(255), index=True)
    phone = Column(String(50))
    document_url = Column(Text)
