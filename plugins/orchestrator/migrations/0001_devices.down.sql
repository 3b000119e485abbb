drop table orchestrator.device_commands;
drop table orchestrator.signing_keys;
