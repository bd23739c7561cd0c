//! Lists in pages. A cursor is where the page before ended, so that what is added meanwhile neither repeats nor hides anything.

use axum::http::header::LINK;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::error::Error;
use super::params::Parameters;

const DEFAULT_LIMIT: usize = 100;
const MOST: usize = 1_000;

/// Documents what [`Page::of`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct PageParams {
    /// How many at most. Default: 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Which part of a list is asked for. `K` tells where it begins: the key of the last item before it.
#[derive(Debug)]
pub struct Page<K> {
    limit: usize,
    pub after: Option<K>,
}

impl<K: Serialize + DeserializeOwned> Page<K> {
    pub fn of(parameters: &mut Parameters) -> Result<Self, Error> {
        let limit = match parameters.take("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => match text.parse() {
                Ok(limit @ 1..=MOST) => limit,
                _ => return Err(Error::parameter("limit", text, format!("a number from 1 to {MOST}"))),
            },
        };
        let after = match parameters.take("cursor") {
            None => None,
            Some(text) => match Self::key(&text) {
                Some(key) => Some(key),
                None => return Err(Error::parameter("cursor", text, "what `next` of the page before says")),
            },
        };
        Ok(Self { limit, after })
    }

    /// How many items to ask for: one more than are shown, to know whether there are more.
    pub fn needed(&self) -> usize {
        self.limit + 1
    }

    /// The items of this page, and the cursor of the next where there is one.
    pub fn cut<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> K) -> Result<(Vec<T>, Option<String>), Error> {
        let is_more = items.len() > self.limit;
        items.truncate(self.limit);
        let next = items.last().filter(|_| is_more).map(|last| Self::cursor(&key(last)));
        Ok((items, next.transpose()?))
    }

    fn cursor(key: &K) -> Result<String, Error> {
        let json = serde_json::to_vec(key).map_err(|error| Error::Internal(error.into()))?;
        Ok(URL_SAFE_NO_PAD.encode(json))
    }

    fn key(cursor: &str) -> Option<K> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
    }
}

/// Names the next page in a header too, for CSV has no place for it (RFC 8288).
pub fn link(mut response: Response, uri: &Uri, next: Option<&str>) -> Response {
    let Some(next) = next else { return response };
    let query = uri.query().unwrap_or_default();
    let others = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let query: Vec<_> = others.map(str::to_owned).chain([format!("cursor={next}")]).collect();
    let link = format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"));
    if let Ok(link) = HeaderValue::try_from(link) {
        response.headers_mut().insert(LINK, link);
    }
    response
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(query: &str) -> Result<Page<(u32, String)>, Error> {
        Page::of(&mut Parameters::of(&format!("/x?{query}").parse().unwrap())?)
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let all: Vec<_> = (0..7).map(|n| (n, format!("{n}/ä"))).collect();
        let (mut seen, mut query) = (Vec::new(), "limit=3".to_owned());
        loop {
            let page = page(&query).unwrap();
            let rest = all
                .iter()
                .filter(|item| page.after.as_ref().is_none_or(|after| *item > after));
            let (items, next) = page
                .cut(rest.take(page.needed()).cloned().collect(), Clone::clone)
                .unwrap();
            assert!(items.len() <= 3);
            seen.extend(items);
            let Some(next) = next else { break };
            query = format!("limit=3&cursor={next}");
        }
        assert_eq!(seen, all);
        // The last page is full.
        assert!(
            page("limit=7")
                .unwrap()
                .cut(all.clone(), Clone::clone)
                .unwrap()
                .1
                .is_none()
        );
    }

    #[test]
    fn a_page_is_neither_empty_nor_endless() {
        assert_eq!(page("").unwrap().needed(), 101);
        for refused in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=x",
            "cursor=",
            "cursor=x",
            "cursor=e30",
        ] {
            assert!(page(refused).is_err(), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn no_cursor_panics(cursor in "[A-Za-z0-9_=-]{0,60}") {
            let _ = page(&format!("cursor={cursor}"));
        }
    }
}
