//! The meaning of an unsuccessful answer, common to all vendors. A vendor refines it where its API says more.

/// An unsuccessful answer, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// What the collector should do.
    pub kind: ApiErrorKind,
    /// What happened, in one line, without secrets.
    pub message: String,
    /// What the user must do; empty if nothing.
    pub hint: String,
}

impl ApiError {
    /// Replaces the hint of a permanent error with a more specific one, if there is one.
    pub(super) fn with_hint(self, hint: Option<&str>) -> Self {
        match hint {
            Some(hint) if self.kind.needs_user() => Self { hint: hint.to_owned(), ..self },
            _ => self,
        }
    }
}

impl ApiErrorKind {
    /// Whether only the user can fix the error, if it persists.
    #[must_use]
    pub const fn needs_user(self) -> bool {
        matches!(self, Self::Permanent | Self::Unauthorized)
    }
}

/// What the collector does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiErrorKind {
    /// Request the same page again, with backoff.
    Transient,
    /// Too many requests: wait as long as the vendor says, then request the same page again.
    RateLimited,
    /// A request with a page cursor was refused: rescan the window from its first page.
    CursorExpired,
    /// A smaller page may succeed: rescan the window from its first page with a smaller page size.
    PageTooLarge,
    /// The credentials were refused. Some APIs do so once by mistake: request the same page once more after a pause, and
    /// treat a second refusal in a row like [`Self::Permanent`].
    Unauthorized,
    /// The user must fix something: stop this source only and try again at a slow interval.
    Permanent,
}

/// The meaning of a status that holds for every vendor. A request that carried a cursor and is refused is made once more
/// from the first page: its cursor is the only part that had not been accepted before.
#[must_use]
pub fn by_status(vendor: &str, status: u16, body: &str, has_cursor: bool) -> ApiError {
    let html = body.trim_start().starts_with('<');
    let (kind, hint) = match status {
        429 => (ApiErrorKind::RateLimited, ""),
        403 if html => (
            ApiErrorKind::Transient,
            "a firewall or proxy in front of the API returned a web page; if this persists, allow this machine there",
        ),
        408 | 409 | 425 | 499 => (ApiErrorKind::Transient, ""),
        500..=599 if status != 501 => (ApiErrorKind::Transient, ""),
        400..=499 if has_cursor && !matches!(status, 401 | 403) => {
            (ApiErrorKind::CursorExpired, "the window is rescanned from its first page")
        }
        300..=399 => (
            ApiErrorKind::Permanent,
            "the API redirects, and auditflow does not send credentials to another address; set base_url or region to the final one",
        ),
        400 | 422 => (ApiErrorKind::Permanent, "the API rejected the request; check the source's filters and dates"),
        401 => (
            ApiErrorKind::Unauthorized,
            "the credentials are missing, wrong or expired; set valid ones in the pipeline file",
        ),
        403 => {
            (ApiErrorKind::Permanent, "the credentials may not read the audit trail; give their owner that permission")
        }
        404 => (
            ApiErrorKind::Permanent,
            "this address does not exist; check base_url, region and the ids in the pipeline file",
        ),
        _ => (ApiErrorKind::Permanent, "the API rejected the request; check base_url and the source's filters"),
    };
    let content = if html { "a web page instead of JSON".to_owned() } else { excerpt(body) };
    let separator = if content.is_empty() { "" } else { ": " };
    let message = format!("{vendor} answered {status}{separator}{content}");
    ApiError { kind, message, hint: hint.to_owned() }
}

/// The first 200 characters of a body on one line, for messages.
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
    fn each_status_has_a_kind() {
        for (status, body, kind) in [
            (429, "", ApiErrorKind::RateLimited),
            (503, "<html>", ApiErrorKind::Transient),
            (501, "", ApiErrorKind::Permanent),
            (401, "{}", ApiErrorKind::Unauthorized),
            (403, "{}", ApiErrorKind::Permanent),
            (403, "<html>challenge", ApiErrorKind::Transient),
            (302, "", ApiErrorKind::Permanent),
        ] {
            assert_eq!(by_status("clumio", status, body, false).kind, kind, "{status} {body}");
        }
    }

    #[test]
    fn a_refused_cursor_is_not_the_users_mistake() {
        let kind = |status| by_status("clumio", status, "{}", true).kind;
        for status in [400, 404, 410, 413, 422] {
            assert_eq!(kind(status), ApiErrorKind::CursorExpired, "{status}");
        }
        assert_eq!(kind(401), ApiErrorKind::Unauthorized);
        assert_eq!(kind(403), ApiErrorKind::Permanent);
        assert_eq!(kind(408), ApiErrorKind::Transient);
        assert_eq!(kind(429), ApiErrorKind::RateLimited);
        assert_eq!(kind(501), ApiErrorKind::Permanent);
    }

    #[test]
    fn permanent_errors_have_a_hint() {
        for status in [400, 401, 403, 404, 302] {
            assert!(!by_status("merge", status, "{}", false).hint.is_empty(), "{status}");
        }
    }

    #[test]
    fn long_bodies_are_shortened() {
        assert!(excerpt(&"x ".repeat(5_000)).len() < 210);
    }
}
