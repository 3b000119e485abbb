drop function hello.forget_removed(bigint, bigint);
drop table hello.notes;
