//! The analyst's questions: what normalized events say about access, failures and people is what the simulator wrote, and the
//! queries of `docs/queries.md` find exactly that with DuckDB.
#![cfg(all(feature = "s3", feature = "parquet"))]
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../s3/bucket.rs"]
#[allow(dead_code, reason = "shared with the tests of the s3 sink")]
mod bucket;
#[path = "../common/mod.rs"]
mod common;
mod documented;
#[path = "../common/store.rs"]
#[allow(dead_code, reason = "shared with the tests of the s3 sink")]
mod store;

use std::collections::BTreeSet;

use auditflow::event::{Event, GrantEffect, Outcome, Role, Via};
use auditflow::simulator::{MentionRole, Party, RecordMeaning, Simulator, SimulatorOptions, VendorName};
use auditflow::time::Timestamp;
use auditflow::vendors::{NormalizerConfig, ReadContext, registry};

/// A part and the values of who plays it, or a grant.
type Said = BTreeSet<String>;

#[tokio::test]
async fn normalized_events_say_what_the_simulator_wrote() {
    let options = SimulatorOptions {
        seed: common::seed(),
        events_per_vendor: 3_000,
        faults: ["ties", "identical_records", "unknown_values"].map(|fault| fault.parse().unwrap()).to_vec(),
        ..SimulatorOptions::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    for vendor in VendorName::ALL {
        let normalizer = registry::normalizer(vendor.as_str(), &NormalizerConfig::default()).unwrap();
        let context = ReadContext { source: "acme", observed_at: Timestamp::from_secs(1_790_000_000), occurrence: 0 };
        for record in simulator.control().truth(vendor).unwrap() {
            let event = normalizer.normalize(&record.raw, &context);
            let meaning = record.meaning.unwrap();
            let raw = &record.raw;
            assert_eq!(grants_of(&event), grants_in(&meaning), "{vendor}: {raw}");
            assert_eq!(event.outcome == Outcome::Failure, meaning.failed, "{vendor}: {raw}");
            assert_eq!(event.actor.via == Via::Api, meaning.by_api, "{vendor}: {raw}");
            // The simulator notes people, not the accounts of programs and objects with made-up names.
            let (found, written) = (people_of(&event), people_in(&meaning));
            assert!(written.is_subset(&found), "{vendor}: {:?} of {raw}", written.difference(&found));
            let more = found.difference(&written).find(|more| more.contains("user") && more.contains("@example.com"));
            assert_eq!(more, None, "{vendor}: {raw}");
        }
    }
    simulator.shutdown().await;
}

fn shown(id: Option<&str>, name: Option<&str>, email: Option<&str>) -> String {
    format!("{id:?} {name:?} {email:?}")
}

fn party(party: &Party) -> String {
    shown(party.id.as_deref(), party.name.as_deref(), party.email.as_deref())
}

fn grants_in(meaning: &RecordMeaning) -> Said {
    let grants = meaning.grants.iter();
    grants
        .map(|grant| {
            let privilege = grant.privilege.as_deref();
            format!("{} {} {privilege:?} {}", grant.granted, party(&grant.grantee), grant.admin)
        })
        .collect()
}

fn grants_of(event: &Event<'_>) -> Said {
    let grants = event.grants.iter();
    grants
        .map(|grant| {
            let (to, privilege) = (&grant.grantee, grant.privilege.as_deref());
            let grantee = shown(to.id.as_deref(), to.name.as_deref(), to.email.as_deref());
            let granted = grant.effect == GrantEffect::Granted;
            format!("{granted} {grantee} {privilege:?} {}", grant.admin == Some(true))
        })
        .collect()
}

fn people_in(meaning: &RecordMeaning) -> Said {
    meaning.people.iter().map(|mention| format!("{:?} {}", mention.role, party(&mention.party))).collect()
}

fn people_of(event: &Event<'_>) -> Said {
    let actor = &event.actor;
    let mut people =
        vec![(MentionRole::Actor, shown(actor.id.as_deref(), actor.name.as_deref(), actor.email.as_deref()))];
    people.extend(
        actor.on_behalf_of.iter().map(|user| {
            (MentionRole::OnBehalfOf, shown(user.id.as_deref(), user.name.as_deref(), user.email.as_deref()))
        }),
    );
    let object = |object: &auditflow::event::Target<'_>| {
        shown(object.id.as_deref(), object.name.as_deref(), object.email.as_deref())
    };
    people.extend(event.target.iter().map(|target| (MentionRole::Target, object(target))));
    let related = event.related.iter().filter(|related| related.role != Role::Parent);
    people.extend(related.map(|related| (MentionRole::Related, object(&related.object))));
    people.into_iter().map(|(role, values)| format!("{role:?} {values}")).collect()
}
