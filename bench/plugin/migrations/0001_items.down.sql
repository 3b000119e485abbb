drop table bench00.items;
