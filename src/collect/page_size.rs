//! How many records to ask for a page: the configured number, fewer while the vendor cannot give so many.

/// So many complete windows after a page was too large, twice as many records are tried again.
const WINDOWS_UNTIL_LARGER: u32 = 10;

/// The page size for the next walk.
#[derive(Debug)]
pub(super) struct PageSize {
    configured: u32,
    present: u32,
    windows: u32,
}

impl PageSize {
    pub(super) fn new(configured: u32) -> Self {
        Self { configured, present: configured, windows: 0 }
    }

    /// Records to ask for.
    pub(super) fn present(&self) -> u32 {
        self.present
    }

    /// What the user or the vendor's facts ask for.
    pub(super) fn configured(&self) -> u32 {
        self.configured
    }

    /// Larger pages have failed.
    pub(super) fn shrink_to(&mut self, size: u32) {
        self.present = self.present.min(size);
        self.windows = 0;
    }

    /// A window is complete.
    pub(super) fn window_complete(&mut self) {
        self.windows += 1;
        if self.windows >= WINDOWS_UNTIL_LARGER {
            self.present = self.present.saturating_mul(2).min(self.configured);
            self.windows = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinks_at_once_and_grows_back_slowly() {
        let mut size = PageSize::new(100);
        size.shrink_to(25);
        let mut sizes = Vec::new();
        for _ in 0..30 {
            size.window_complete();
            sizes.push(size.present());
        }
        assert_eq!((sizes[8], sizes[9], sizes[19], sizes[29]), (25, 50, 100, 100));
    }
}
