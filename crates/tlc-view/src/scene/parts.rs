//! The stored tables that one table of a scene consists of.

use tlc_core::Url;

use super::SceneTable;

/// A stored table, and which samples its rows are.
#[derive(Debug, Clone)]
pub struct TablePart {
    /// Its place.
    pub url: Url,
    /// Its number of rows.
    pub rows: usize,
    /// The table that it was reduced from, which may be gone.
    pub reduced_from: Option<Url>,
    /// The table whose rows it has: that of all its reductions, the same for all of them.
    pub(super) origin: Url,
    /// Its columns that are layouts of the scene.
    pub(super) layouts: Vec<String>,
    /// For each row its slot; `None` if row i is slot i.
    slots: Option<Vec<u32>>,
    /// The rows of slots in order of `slots`, so that one is found by halving; as many as there are rows.
    by_slot: Vec<u32>,
}

impl TablePart {
    pub(super) fn new(url: Url, rows: usize, reduced_from: Option<Url>, origin: Url) -> Self {
        Self { url, rows, reduced_from, origin, layouts: Vec::new(), slots: None, by_slot: Vec::new() }
    }

    /// Finds the slots of rows that are the samples `ids`, among `all`, which are ascending.
    pub(super) fn find_slots(&mut self, ids: &[i64], all: &[i64]) {
        if all == ids {
            return;
        }
        let slots: Vec<u32> = ids.iter().map(|id| all.partition_point(|other| other < id) as u32).collect();
        self.by_slot = (0..slots.len() as u32).collect();
        // Stable: of rows of one slot the first.
        self.by_slot.sort_by_key(|&row| slots[row as usize]);
        self.slots = Some(slots);
    }

    /// The row of a slot, if the table has one.
    pub(crate) fn row(&self, slot: usize) -> Option<u64> {
        match &self.slots {
            None => (slot < self.rows).then_some(slot as u64),
            Some(slots) => {
                let slot_of = |row: &u32| slots[*row as usize] as usize;
                let at = self.by_slot.partition_point(|row| slot_of(row) < slot);
                self.by_slot.get(at).filter(|row| slot_of(row) == slot).map(|&row| u64::from(row))
            }
        }
    }

    /// All rows of a slot.
    pub(super) fn rows_of(&self, slot: usize) -> Vec<u64> {
        match &self.slots {
            None => self.row(slot).into_iter().collect(),
            Some(slots) => {
                let slot_of = |row: &u32| slots[*row as usize] as usize;
                let from = self.by_slot.partition_point(|row| slot_of(row) < slot);
                self.by_slot[from..].iter().take_while(|row| slot_of(row) == slot).map(|&row| u64::from(row)).collect()
            }
        }
    }

    /// The slot of a row.
    pub(crate) fn slot(&self, row: usize) -> usize {
        self.slots.as_ref().map_or(row, |slots| slots[row] as usize)
    }
}

#[cfg(feature = "server")]
impl super::Scene {
    /// The stored tables that have all rows of a table together, as a user names them: where the samples are the rows of a
    /// table that is shown by its reductions, that table.
    pub(crate) fn named_urls<'a>(&'a self, table: &'a SceneTable) -> impl Iterator<Item = &'a Url> {
        let own = self.datasets[table.dataset].foreign_table.as_ref();
        let name = move |part: &'a TablePart| match own {
            Some(own) if part.reduced_from.as_ref() == Some(own) => own,
            _ => &part.url,
        };
        table.distinct_parts().map(name)
    }
}

impl SceneTable {
    /// The place of its first part.
    pub fn url(&self) -> &Url {
        &self.parts[0].url
    }

    /// Whether it has a row for a slot.
    pub(crate) fn has_row(&self, slot: usize) -> bool {
        self.parts.iter().any(|part| part.row(slot).is_some())
    }

    /// The parts that have a layout.
    pub(crate) fn parts_with<'a>(&'a self, layout: &'a str) -> impl Iterator<Item = &'a TablePart> {
        self.parts.iter().filter(move |part| part.layouts.iter().any(|name| name == layout))
    }

    /// Parts that have all rows together, each once: of several reductions of one table the first. They agree in all
    /// columns but layouts.
    pub(crate) fn distinct_parts(&self) -> impl Iterator<Item = &TablePart> {
        let is_first =
            |(index, part): &(usize, &TablePart)| !self.parts[..*index].iter().any(|other| other.origin == part.origin);
        self.parts.iter().enumerate().filter(is_first).map(|(_, part)| part)
    }
}
