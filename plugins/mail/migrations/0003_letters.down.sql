drop function mail.post(jsonb);
drop table mail.letters;
