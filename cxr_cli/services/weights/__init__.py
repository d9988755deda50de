"""Compute class weights and show how they change the loss."""
