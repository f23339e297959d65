from .sta import write_sta as write_sta
