//! Tests of the routes in this process, over real databases.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failure fails the test and shows its location"
)]

mod about;
mod access;
mod amending;
mod audit_reads;
mod conditional;
mod cors;
mod damage;
mod erasure;
mod errors;
mod feed;
mod filters;
mod heads;
mod history;
mod holding;
mod hosts;
mod jwt;
mod legacy;
mod limits;
mod mail;
mod negotiation;
mod odd_values;
mod openapi;
mod parameters;
mod projections;
mod public_url;
mod read_record;
mod reading;
mod refusals;
mod retries;
mod rig;
mod secure;
mod seed;
mod slashes;
mod slow_bodies;
mod streams;
mod uniqueness;
mod values;
