//! Creates ACLs for the tests' user. The client library has no call for it, so this writes the request itself: CreateAcls, version 1
//! (<https://kafka.apache.org/protocol#The_Messages_CreateAcls>).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::broker::{Broker, USER};

/// One permission: resource type, resource name, operation.
#[derive(Clone, Copy, Debug)]
pub struct Permission<'a> {
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

/// Grants permissions to the tests' user.
pub fn grant(broker: &Broker, acls: &[Permission<'_>]) {
    const CREATE_ACLS: i16 = 30;
    const VERSION: i16 = 1;
    let mut request = Vec::new();
    request.extend(CREATE_ACLS.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    push_string(&mut request, "tests");
    request.extend(i32::try_from(acls.len()).unwrap().to_be_bytes());
    acls.iter().for_each(|acl| push(&mut request, acl));

    let mut connection = TcpStream::connect(broker.address()).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    connection.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    connection.write_all(&request).unwrap();
    let mut length = [0; 4];
    connection.read_exact(&mut length).unwrap();
    let mut response = vec![0; u32::from_be_bytes(length) as usize];
    connection.read_exact(&mut response).unwrap();
    // Correlation id, throttle time and number of results precede them; each is an error code and a null message.
    let results = response[12..].chunks(4).map(|result| i16::from_be_bytes([result[0], result[1]]));
    assert_eq!(results.collect::<Vec<_>>(), vec![0; acls.len()], "the broker rejects {acls:?}");
}

fn push(request: &mut Vec<u8>, acl: &Permission<'_>) {
    const LITERAL: u8 = 3;
    const ALLOW: u8 = 3;
    request.push(acl.resource as u8);
    push_string(request, acl.name);
    request.push(LITERAL);
    push_string(request, &format!("User:{USER}"));
    push_string(request, "*");
    request.push(acl.operation as u8);
    request.push(ALLOW);
}

fn push_string(request: &mut Vec<u8>, text: &str) {
    request.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
    request.extend(text.as_bytes());
}
