DROP TABLE public.read_states;
DROP TABLE public.message_reactions;
DROP TABLE public.messages;
DROP TABLE public.conversation_members;
DROP TABLE public.conversations;
DROP FUNCTION public.check_message_author();
DROP FUNCTION public.raise_conversation();
