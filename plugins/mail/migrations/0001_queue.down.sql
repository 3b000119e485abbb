drop table mail.suppressions;
drop table mail.messages;
