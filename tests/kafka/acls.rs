//! What a user may do. The client library offers no call for it, so the request is written by hand: CreateAcls, version 1
//! (<https://kafka.apache.org/protocol#The_Messages_CreateAcls>).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::broker::{Broker, USER};

/// What is allowed: a kind of resource, its name or the beginning of it, an operation.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    pub resource: Resource,
    pub name: &'a str,
    pub operation: Operation,
}

#[derive(Clone, Copy, Debug)]
pub enum Resource {
    Topic = 2,
    Group = 3,
    TransactionalId = 5,
}

#[derive(Clone, Copy, Debug)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Describe = 8,
}

/// Allows the user of the tests something.
pub fn allow(broker: &Broker, acls: &[Allowed<'_>]) {
    const CREATE_ACLS: i16 = 30;
    const VERSION: i16 = 1;
    let mut request = Vec::new();
    request.extend(CREATE_ACLS.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    push_text(&mut request, "tests");
    request.extend(i32::try_from(acls.len()).unwrap().to_be_bytes());
    acls.iter().for_each(|acl| push(&mut request, acl));

    let mut connection = TcpStream::connect(broker.address()).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    connection.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    connection.write_all(&request).unwrap();
    let mut length = [0; 4];
    connection.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    connection.read_exact(&mut answer).unwrap();
    // Correlation, throttle time, number of results; each an error code and a text that is null.
    let results = answer[12..].chunks(4).map(|result| i16::from_be_bytes([result[0], result[1]]));
    assert_eq!(results.collect::<Vec<_>>(), vec![0; acls.len()], "the broker did not take {acls:?}");
}

fn push(request: &mut Vec<u8>, acl: &Allowed<'_>) {
    const LITERAL: u8 = 3;
    const ALLOW: u8 = 3;
    request.push(acl.resource as u8);
    push_text(request, acl.name);
    request.push(LITERAL);
    push_text(request, &format!("User:{USER}"));
    push_text(request, "*");
    request.push(acl.operation as u8);
    request.push(ALLOW);
}

fn push_text(request: &mut Vec<u8>, text: &str) {
    request.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
    request.extend(text.as_bytes());
}
