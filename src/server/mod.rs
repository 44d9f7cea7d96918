//! A model server that belongs to the run: started where its settings say, watched while it lives, ended with the run.
