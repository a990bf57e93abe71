"""The routes of the service. The original also sends an email to each new patient, with Celery."""

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import select
from sqlalchemy.orm import Session

from .database import Base, engine, get_db
from .models import Patient
from .schemas import PatientCreate, PatientListed, PatientRead

Base.metadata.create_all(engine)
app = FastAPI(title="Patient Registration API")


@app.post("/register", response_model=PatientRead)
def register(body: PatientCreate, db: Session = Depends(get_db)):
    patient = Patient(**body.model_dump())
    db.add(patient)
    db.commit()
    db.refresh(patient)
    return patient


@app.get("/getPatients", response_model=list[PatientListed])
def get_patients(db: Session = Depends(get_db)):
    return db.scalars(select(Patient).order_by(Patient.id)).all()


@app.get("/patients/{id}", response_model=PatientRead)
def get_patient(id: int, db: Session = Depends(get_db)):
    return find(id, db)


@app.delete("/patients/{id}")
def delete_patient(id: int, db: Session = Depends(get_db)):
    db.delete(find(id, db))
    db.commit()
    return {"message": "Patient deleted"}


def find(id: int, db: Session) -> Patient:
    patient = db.get(Patient, id)
    if patient is None:
        raise HTTPException(status_code=404, detail="Patient not found")
    return patient
