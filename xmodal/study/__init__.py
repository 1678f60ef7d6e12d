"""What results mean: arms that differ in declared factors only, rates swept alike, differences judged over seeds."""
