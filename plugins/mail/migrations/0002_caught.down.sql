drop table mail.caught;
