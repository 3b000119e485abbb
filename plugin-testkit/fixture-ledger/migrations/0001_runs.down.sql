drop table ledger.runs;
