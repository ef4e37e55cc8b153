"""Features that contrast masks, trained (SAGA, Cen et al. 2023): the yardstick of the closed form."""
