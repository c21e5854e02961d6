//! What an unsuccessful answer means, common to all vendors. A vendor's file refines it where it knows more.

/// An unsuccessful answer, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// What the collector should do.
    pub kind: ApiErrorKind,
    /// What happened, in one line, without secrets.
    pub message: String,
    /// What the user must do; empty if nothing but wait.
    pub hint: String,
}

/// What the collector does about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiErrorKind {
    /// Ask the same page again, with back-off.
    Transient,
    /// The vendor asks us to slow down: wait as long as it says, then ask the same page again.
    RateLimited,
    /// The page cursor is no longer valid: walk the window again from its first page.
    CursorExpired,
    /// A smaller page may succeed: ask again with a smaller page size, the window from its first page.
    PageTooLarge,
    /// Nothing changes until the user mends something: stop this source alone, look again at a slow interval.
    Permanent,
}

/// The meaning of a status that holds for every vendor.
#[must_use]
pub fn by_status(vendor: &str, status: u16, body: &str) -> ApiError {
    let html = body.trim_start().starts_with('<');
    let (kind, hint) = match status {
        429 => (ApiErrorKind::RateLimited, ""),
        403 if html => (
            ApiErrorKind::Transient,
            "a firewall or proxy in front of the API answered with a web page; if it stays, have it let this machine through",
        ),
        408 | 409 | 425 | 499 => (ApiErrorKind::Transient, ""),
        500..=599 if status != 501 => (ApiErrorKind::Transient, ""),
        300..=399 => (
            ApiErrorKind::Permanent,
            "the API redirects, and credentials are not sent to another address; set base_url or region to the final one",
        ),
        400 | 422 => (ApiErrorKind::Permanent, "the API refuses the request; check the source's filters and dates"),
        401 => (
            ApiErrorKind::Permanent,
            "the credentials are missing, wrong or expired; put valid ones into the pipeline file",
        ),
        403 => {
            (ApiErrorKind::Permanent, "the credentials may not read the audit trail; give their owner the permission")
        }
        404 => (
            ApiErrorKind::Permanent,
            "there is nothing at this address; check base_url, region and the ids in the pipeline file",
        ),
        _ => (ApiErrorKind::Permanent, "the API refuses the request"),
    };
    let said = if html { "a web page instead of JSON".to_owned() } else { excerpt(body) };
    let message = if said.is_empty() {
        format!("{vendor} answered {status}")
    } else {
        format!("{vendor} answered {status}: {said}")
    };
    ApiError { kind, message, hint: hint.to_owned() }
}

/// The first part of a body on one line, for messages.
#[must_use]
pub fn excerpt(body: &str) -> String {
    const LONGEST: usize = 200;
    let mut line: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > LONGEST {
        line = line.chars().take(LONGEST).chain("...".chars()).collect();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_sort_into_what_to_do() {
        for (status, body, kind) in [
            (429, "", ApiErrorKind::RateLimited),
            (503, "<html>", ApiErrorKind::Transient),
            (501, "", ApiErrorKind::Permanent),
            (401, "{}", ApiErrorKind::Permanent),
            (403, "{}", ApiErrorKind::Permanent),
            (403, "<html>challenge", ApiErrorKind::Transient),
            (302, "", ApiErrorKind::Permanent),
        ] {
            assert_eq!(by_status("clumio", status, body).kind, kind, "{status} {body}");
        }
    }

    #[test]
    fn permanent_faults_say_what_to_mend() {
        for status in [400, 401, 403, 404, 302] {
            assert!(!by_status("merge", status, "{}").hint.is_empty(), "{status}");
        }
    }

    #[test]
    fn long_bodies_are_cut() {
        assert!(excerpt(&"x ".repeat(5_000)).len() < 210);
    }
}
