//! An event into a stored row. [`Columns::append`](super::columns::Columns::append) reads the same values in the same order.

use std::time::Duration;

use super::rows::RowWriter;
use crate::event::{Actor, Change, Event, OnBehalfOf, Related, Target};
use crate::sinks::EventForm;
use crate::time::{EventTime, Timestamp};

/// The time with the digits that its vendor gave, as the JSON forms write it.
pub(super) fn written_time(time: EventTime) -> Timestamp {
    let cut_digits = u32::from(9_u8.saturating_sub(time.digits));
    time.at.floor_to(Duration::from_nanos(10_u64.pow(cut_digits)))
}

/// Writes the values of `event` in the order of the columns, time and schema version left out.
pub(super) fn store(event: &Event<'_>, form: EventForm, with_raw: bool, row: &mut RowWriter<'_>) {
    store_identity(event, row);
    match form {
        EventForm::Normalized => store_normalized(event, row),
        EventForm::Raw => row.count(0),
    }
    row.text(event.normalize_error.as_deref());
    if with_raw {
        row.text(Some(event.raw));
    }
}

fn store_identity(event: &Event<'_>, row: &mut RowWriter<'_>) {
    let id = event.id.hex();
    row.text(std::str::from_utf8(&id).ok());
    store_version(event.version, row);
    row.text(Some(event.vendor));
    row.text(Some(event.source));
    row.text(event.tenant.as_deref());
    row.text(event.vendor_event_id.as_deref());
    row.number(event.observed_at.as_millis().saturating_mul(1_000));
}

/// Engines have no unsigned numbers. A version is a time in microseconds plus a count and far from the limit.
fn store_version(version: Option<u64>, row: &mut RowWriter<'_>) {
    row.count(usize::from(version.is_some()));
    if let Some(version) = version {
        row.number(i64::try_from(version).unwrap_or(i64::MAX));
    }
}

fn store_normalized(event: &Event<'_>, row: &mut RowWriter<'_>) {
    row.count(1);
    row.text(Some(&event.event_type));
    row.text(Some(event.action.as_str()));
    row.text(Some(event.category.as_str()));
    row.text(Some(event.outcome.as_str()));
    row.text(event.message.as_deref());
    store_actor(&event.actor, row);
    row.count(usize::from(event.target.is_some()));
    event.target.iter().for_each(|target| store_object(target, row));
    row.count(event.related.len());
    event.related.iter().for_each(|related| store_related(related, row));
    row.count(event.changes.len());
    event.changes.iter().for_each(|change| store_change(change, row));
}

fn store_actor(actor: &Actor<'_>, row: &mut RowWriter<'_>) {
    row.text(Some(actor.kind.as_str()));
    row.text(actor.id.as_deref());
    row.text(actor.name.as_deref());
    row.text(actor.email.as_deref());
    row.text(actor.ip.as_deref());
    row.count(usize::from(actor.on_behalf_of.is_some()));
    actor.on_behalf_of.iter().for_each(|user| store_effective_user(user, row));
}

fn store_effective_user(user: &OnBehalfOf<'_>, row: &mut RowWriter<'_>) {
    row.text(user.id.as_deref());
    row.text(user.name.as_deref());
    row.text(user.email.as_deref());
}

fn store_object(object: &Target<'_>, row: &mut RowWriter<'_>) {
    row.text(object.kind.as_deref());
    row.text(object.id.as_deref());
    row.text(object.name.as_deref());
}

fn store_related(related: &Related<'_>, row: &mut RowWriter<'_>) {
    row.text(Some(related.role.as_str()));
    store_object(&related.object, row);
}

fn store_change(change: &Change<'_>, row: &mut RowWriter<'_>) {
    row.text(Some(&change.field));
    row.text(change.old.as_deref());
    row.text(change.new.as_deref());
}
