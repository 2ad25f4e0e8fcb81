//! Where progress is seen: one line for each thing that changes in place on a terminal, one line for
//! each change elsewhere, nothing where quiet was asked for.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{
    board::{Mood, Row},
    output::{FAINT, GREEN, Output, ProgressMode, RED, YELLOW, styled},
};

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(100);

/// Shows rows.
pub(super) struct Screen {
    output: Output,
    lively: Option<Lively>,
}

struct Lively {
    all: MultiProgress,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Screen {
    /// A screen as the output wants it.
    #[must_use]
    pub(super) fn new(output: Output) -> Self {
        let lively = (output.progress == ProgressMode::Tty)
            .then(|| Lively { all: MultiProgress::new(), bars: Mutex::new(BTreeMap::new()) });
        Self { output, lively }
    }

    /// Shows a change.
    pub(super) fn show(&self, row: &Row) {
        match &self.lively {
            Some(lively) => lively.show(row, &self.output),
            None if self.output.progress == ProgressMode::Plain => self.output.note(&row.text()),
            None => {}
        }
    }

    /// Shows a step of something long that is worth a line only where lines change in place.
    pub(super) fn step(&self, row: &Row) {
        if let Some(lively) = &self.lively {
            lively.show(row, &self.output);
        }
    }

    /// Lets the lines stand as they are; what comes next is printed below.
    pub(super) fn finish(&self) {
        if let Some(lively) = &self.lively {
            let mut bars = lively.bars.lock().unwrap_or_else(PoisonError::into_inner);
            for bar in std::mem::take(&mut *bars).values() {
                bar.abandon();
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Lively {
    fn show(&self, row: &Row, output: &Output) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{} {}", row.kind, row.name);
        let bar = bars.entry(key).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new_spinner());
            bar.enable_steady_tick(TURN);
            bar
        });
        let (mark, style) = match row.mood {
            Mood::Working => ("{spinner}", YELLOW),
            Mood::Done => ("✔", GREEN),
            Mood::Warning => ("!", YELLOW),
            Mood::Failed => ("✘", RED),
        };
        let mark = styled(output.colour_err, style, mark);
        let time = styled(output.colour_err, FAINT, "{elapsed}");
        // A template that does not parse would be our mistake; the default one still shows the row.
        if let Ok(template) = ProgressStyle::with_template(&format!(" {mark} {{wide_msg}} {time} "))
        {
            bar.set_style(template);
        }
        bar.set_message(format!(
            "{} {}  {}",
            row.kind,
            row.name,
            styled(output.colour_err, style, &row.status)
        ));
        match row.mood {
            Mood::Working => bar.enable_steady_tick(TURN),
            // The time stands still until something happens again.
            Mood::Done | Mood::Warning | Mood::Failed => bar.disable_steady_tick(),
        }
        bar.tick();
    }
}
