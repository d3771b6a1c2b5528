//! The reduced columns of a scene's tables, and the boxes around them.

use arrow_schema::Schema;
use serde_json::Value;
use tlc_core::{FieldRoles, Lineage, NumberRole, columns_with_role, embedding_width};

use super::at_once::at_once;
use super::sources::Source;
use super::{Scene, SceneLayout, SceneTable, TablePart};
use crate::ViewError;

impl Scene {
    pub(super) fn add_layouts(&mut self, sources: &[Source]) -> Result<(), ViewError> {
        // In the order of writing, not of the tables.
        for source in sources {
            let is_it = |part: &TablePart| part.url == source.info.url;
            let place = |table: &SceneTable| table.parts.iter().position(is_it);
            let found = self.tables.iter().enumerate().find_map(|(index, table)| Some((index, place(table)?)));
            let Some((table, part)) = found else { continue };
            let schema = &source.info.schema;
            let lineage = source.info.lineage();
            for name in columns_with_role(schema, &NumberRole::ReducedEmbedding) {
                let width = schema.field_with_name(&name).ok().and_then(embedding_width).unwrap_or(0);
                if !(2..=3).contains(&width) {
                    continue;
                }
                let index = match self.layouts.iter().position(|layout| layout.name == name) {
                    Some(index) if self.layouts[index].n_components == width => index,
                    // The same name with another number of components cannot be shown in the same map.
                    Some(_) => continue,
                    None => {
                        self.layouts.push(layout(&name, width, schema, lineage.as_ref()));
                        self.layouts.len() - 1
                    }
                };
                let is_fitted = |lineage: &Lineage| lineage.inputs.len() == 1 && lineage.models.contains_key(&name);
                if lineage.as_ref().is_some_and(is_fitted) {
                    self.layouts[index].fitted_table = Some(table);
                }
                if !self.layouts[index].tables.contains(&table) {
                    self.layouts[index].tables.push(table);
                }
                self.tables[table].parts[part].layouts.push(name);
            }
        }
        for index in 0..self.layouts.len() {
            let layout = &self.layouts[index];
            let mut bounds = nowhere(layout.n_components);
            for of_table in at_once(&layout.tables, |&table| self.bounds(layout, table)) {
                widen(&mut bounds, of_table?);
            }
            self.layouts[index].bounds =
                bounds.into_iter().map(|bound| if bound[0] <= bound[1] { bound } else { [-0.5, 0.5] }).collect();
        }
        Ok(())
    }

    /// Least and largest coordinates of a layout in a table, of points that have all of them.
    fn bounds(&self, layout: &SceneLayout, table: usize) -> Result<Vec<[f32; 2]>, ViewError> {
        let mut bounds = nowhere(layout.n_components);
        for point in self.coordinates(layout, table)?.outer_iter().filter(|point| point.iter().all(|x| x.is_finite())) {
            widen(&mut bounds, point.iter().map(|&x| [x, x]));
        }
        Ok(bounds)
    }
}

/// A box that holds no point.
fn nowhere(n_components: usize) -> Vec<[f32; 2]> {
    vec![[f32::INFINITY, f32::NEG_INFINITY]; n_components]
}

/// Makes a box hold another.
fn widen(bounds: &mut [[f32; 2]], other: impl IntoIterator<Item = [f32; 2]>) {
    for (bound, [low, high]) in bounds.iter_mut().zip(other) {
        *bound = [bound[0].min(low), bound[1].max(high)];
    }
}

fn layout(name: &str, n_components: usize, schema: &Schema, lineage: Option<&Lineage>) -> SceneLayout {
    let operation = lineage.and_then(|lineage| lineage.operation.args.get("columns")?.get(name));
    let reducer = operation.and_then(|column| column.get("reducer")).and_then(Value::as_object);
    let tag = reducer.and_then(|reducer| reducer.get("type")).and_then(Value::as_str).unwrap_or("unknown");
    let mut args = reducer.cloned().unwrap_or_default();
    args.remove("type");
    let ood = format!("{name}_ood");
    let has_ood = schema.field_with_name(&ood).is_ok_and(|field| field.role() == Some(NumberRole::OutOfDistribution));
    SceneLayout {
        name: name.to_owned(),
        n_components,
        method: tag.split('/').next().unwrap_or(tag).to_owned(),
        source: operation.and_then(|column| column.get("source")).and_then(Value::as_str).map(str::to_owned),
        args,
        fitted_table: None,
        tables: Vec::new(),
        bounds: Vec::new(),
        ood_column: has_ood.then_some(ood),
    }
}
